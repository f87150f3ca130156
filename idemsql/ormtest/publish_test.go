package ormtest_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// hostile are records whose texts and bytes a driver, or an array's text, could take for something else.
func hostile() []outbox.Record {
	return []outbox.Record{
		{Topic: "t", EventID: `{"a", 'b'},NULL,\x41`, Key: []byte(`k"\{},`), Value: []byte("\x00\xff\\x41")},
		{Topic: "t", EventID: "null", Value: []byte{}},
		{Topic: "t", EventID: "ünï $1 ? -- ", Key: []byte{0}, Headers: []consume.RecordHeader{
			{Key: "", Value: nil}, {Key: "h\x00\xff", Value: []byte("NULL")}, {Key: `"`, Value: []byte{}},
		}},
	}
}

const published = `SELECT coalesce(string_agg(concat_ws('|', event_id, topic, coalesce(key::text, 'null'), coalesce(value::text, 'null'),
	coalesce(header_keys::text, 'null'), coalesce(header_values::text, 'null'), key_hash), E'\n' ORDER BY id), '') FROM idem.outbox`

// Records are the same as those that are published with pgx, and are there if and only if the transaction commits.
func TestPublish(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		pool := b.database.Pool(t)
		read := func() (rows string) {
			if err := pool.QueryRow(t.Context(), published).Scan(&rows); err != nil {
				t.Fatal(err)
			}

			return rows
		}
		publish := func(ctx context.Context, tx *sql.Tx) error { return idemsql.Publish(ctx, tx, hostile()...) }
		if err := b.transact(t.Context(), func(tx *sql.Tx) error { return errors.Join(publish(t.Context(), tx), errBoom) }); !errors.Is(err, errBoom) {
			t.Fatal(err)
		}
		if rows := read(); rows != "" {
			t.Fatalf("after a rollback: %s", rows)
		}
		if err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return outbox.Publish(t.Context(), tx, hostile()...) }); err != nil {
			t.Fatal(err)
		}
		want := read()

		for i, way := range []func() error{
			func() error {
				return b.transact(t.Context(), func(tx *sql.Tx) error { return publish(t.Context(), tx) })
			},
			func() error {
				_, err := b.guard.ProcessIfNew(t.Context(), "a", publish)

				return err
			},
			func() error {
				return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error { return idemsql.InTx(t.Context(), tx, publish) })
			},
		} {
			if _, err := pool.Exec(t.Context(), `DELETE FROM idem.outbox`); err != nil {
				t.Fatal(err)
			}
			if err := way(); err != nil {
				t.Fatalf("way %d: %v", i, err)
			}
			if got := read(); got != want {
				t.Errorf("way %d: got\n%s\nwant\n%s", i, got, want)
			}
		}
	})
}

func TestPublishRefuses(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, b *bundle) {
		if err := idemsql.Publish(t.Context(), nil, hostile()...); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("without a transaction: %v", err)
		}
		err := b.transact(t.Context(), func(tx *sql.Tx) error { return idemsql.Publish(t.Context(), tx, outbox.Record{}) })
		if !errors.Is(err, outbox.ErrInvalidRecord) {
			t.Errorf("without a topic: %v", err)
		}
		err = b.transact(t.Context(), func(tx *sql.Tx) error {
			return idemsql.Publisher{Schema: "elsewhere"}.Publish(t.Context(), tx, outbox.Record{Topic: "t"})
		})
		if !errors.Is(err, idem.ErrNotMigrated) {
			t.Errorf("to a schema that is not there: %v", err)
		}
	})
}

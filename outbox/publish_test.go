package outbox_test

import (
	"bytes"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// What cannot be a record is refused before any I/O.
func TestInvalidRecords(t *testing.T) {
	t.Parallel()
	for name, r := range map[string]outbox.Record{
		"no topic": {}, "topic": {Topic: "a b"}, "dots": {Topic: ".."}, "long topic": {Topic: strings.Repeat("t", 250)},
		"size":     {Topic: "t", Value: make([]byte, outbox.MaxRecordBytes+1)},
		"NUL":      {Topic: "t", EventID: "a\x00"},
		"no UTF-8": {Topic: "t", EventID: "\xff"}, "long id": {Topic: "t", EventID: strings.Repeat("x", idem.MaxEventIDBytes+1)},
	} {
		if err := outbox.Queue(&pgx.Batch{}, r); !errors.Is(err, outbox.ErrInvalidRecord) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := outbox.Publish(t.Context(), nil); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Error(err)
	}
	if err := (outbox.Publisher{Schema: "A"}).Queue(&pgx.Batch{}); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Error(err)
	}
	if _, err := outbox.NewRelay(nil, &topicLog{}, outbox.Config{}); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Error(err)
	}
	for _, config := range []outbox.Config{{ProduceTimeout: math.MaxInt64}, {MaxBytes: math.MaxInt64}, {Poll: -1}} {
		if _, err := outbox.NewRelay(new(pgxpool.Pool), &topicLog{}, config); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%+v: %v", config, err)
		}
	}
}

// Queue publishes with the batch that it is given, and nothing if there are no records.
func TestQueue(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var batch pgx.Batch
	if err := errors.Join(outbox.Queue(&batch), outbox.Queue(&batch, numbered(0, 3, 1)...)); err != nil || batch.Len() != 1 {
		t.Fatal(err, batch.Len())
	}
	if err := b.pool.SendBatch(t.Context(), &batch).Close(); err != nil {
		t.Fatal(err)
	}
	b.start(t, nil)
	b.awaitEmpty(t)
	want(t, b.log.values(), "0", "1", "2")
}

// A buffer that is used again before the batch is sent changes no record.
func TestQueueCopies(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var batch pgx.Batch
	var buffer bytes.Buffer
	for _, value := range []string{"first", "other"} {
		buffer.Reset()
		buffer.WriteString(value)
		if err := outbox.Queue(&batch, outbox.Record{Topic: "t", Key: buffer.Bytes(), Value: buffer.Bytes()}); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.pool.SendBatch(t.Context(), &batch).Close(); err != nil {
		t.Fatal(err)
	}
	b.start(t, nil)
	b.awaitEmpty(t)
	want(t, b.log.values(), "first", "other")
}

// Nobody can publish in another transaction's name with the rights that schema.Grants gives.
func TestNobodyPublishesForAnotherTransaction(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.pool.Exec(t.Context(), `INSERT INTO idem.outbox (xid, event_id, topic) VALUES ('1', 'e', 't')`)
	var pgErr *pgconn.PgError
	if !errors.As(err, &pgErr) || pgErr.Code != "42501" {
		t.Errorf("the role chose the transaction of a record: %v", err)
	}
}

// Publisher and relay work in all ways in which pgx sends statements, with other people's functions in the search_path.
func TestExecModes(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			service := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t, pgtest.ExecMode(mode), pgtest.Hostile())}
			service.start(t, nil)
			service.published(t, outbox.Record{Topic: "t", Key: []byte{0, 255}, Value: []byte{0, 255}})
			b.awaitEmpty(t)
			want(t, b.log.values(), "\x00\xff")
		})
	}
}

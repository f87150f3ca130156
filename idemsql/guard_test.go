package idemsql_test

import (
	"context"
	"database/sql"
	"errors"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idemsql"
)

// What is not valid is found before any I/O.
func TestInvalidArguments(t *testing.T) {
	t.Parallel()
	db, err := sql.Open("pgx", "postgres://nowhere.invalid/none")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close() //nolint:errcheck // Nothing was opened.
	guard, err := idemsql.New(db, idem.Config{Consumer: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	handler := func(context.Context, *sql.Tx) error { return nil }
	for name, err := range map[string]error{
		"database":  failure(idemsql.New(nil, idem.Config{Consumer: "orders"})),
		"consumer":  failure(idemsql.New(db, idem.Config{})),
		"guard":     new(idemsql.Guard).Register(t.Context()),
		"handler":   failure(guard.ProcessIfNew(t.Context(), "a", nil)),
		"option":    failure(guard.ProcessIfNew(t.Context(), "a", handler, nil)),
		"isolation": failure(guard.ProcessIfNew(t.Context(), "a", handler, idem.WithIsolation("none"))),
		"tx":        failure(guard.ClaimTx(t.Context(), nil, "a")),
		"InTx":      idemsql.InTx(t.Context(), nil, handler),
	} {
		if !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%s: %v, want ErrInvalidConfig", name, err)
		}
	}
	for name, err := range map[string]error{
		"ProcessIfNew":  failure(guard.ProcessIfNew(t.Context(), "", handler)),
		"MarkProcessed": failure(guard.MarkProcessed(t.Context(), "")),
		"IsProcessed":   failure(guard.IsProcessed(t.Context(), "")),
		"Resolve":       failure(guard.Resolve(t.Context(), idem.Claim{})),
	} {
		if !errors.Is(err, idem.ErrInvalidEventID) {
			t.Errorf("%s: %v, want ErrInvalidEventID", name, err)
		}
	}
}

func failure[T any](_ T, err error) error { return err }

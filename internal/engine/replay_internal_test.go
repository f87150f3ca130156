package engine

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// A replay whose end is not stored was told as failed, and counted as a start that had killed its process.
func TestNoReplayHasFailedBeforeThatIsStored(t *testing.T) {
	t.Parallel()
	for name, end := range map[string]func(w *worker, revoked context.Context) error{
		"failed": func(w *worker, revoked context.Context) error {
			return w.reopen(revoked, t.Context(), idem.DeadLetter{Copied: true}, 1, errors.New("poison"))
		},
		"not in the log": func(w *worker, revoked context.Context) error {
			w.source = &still{batch: Batch{Next: 5, Release: func() {}}}
			_, err := w.fetchRequested(revoked, t.Context(), idem.DeadLetter{Offset: 4})

			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pool, err := pgxpool.New(t.Context(), "postgres://postgres@127.0.0.1:1/nobody?sslmode=disable")
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			guard, err := idem.New(pool, idem.Config{Consumer: "billing", Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Fatal(err)
			}
			revoked, revoke := context.WithCancel(t.Context())
			w, log := newLogged(consume.Hooks{
				Event: func(_ context.Context, e consume.Event) { t.Errorf("told of %v", e.Kind) },
				Pause: idem.Hook[consume.PauseBegin, consume.PauseEnd]{Begin: func(ctx context.Context, _ consume.PauseBegin) context.Context {
					revoke()

					return ctx
				}},
			})
			w.owner = guard.Unfenced(idem.Partition{Topic: "orders"})
			if err := end(w, revoked); err != nil {
				t.Error(err)
			}
			if said := log.String(); strings.Count(said, "the start of a replay could not be subtracted") != 1 || strings.Contains(said, "level=ERROR") {
				t.Errorf("it said:\n%s", said)
			}
		})
	}
}

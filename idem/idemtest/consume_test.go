package idemtest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

var errBad = errors.New("this payment is bad")

func TestConsume(t *testing.T) {
	t.Parallel()
	for name, config := range forms() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newService(t, idemtest.Pool(t))
			did := idemtest.Consume(t, s.guard, config, records("p-1", "bad", "p-2", "p-1")...)
			if did.Processed != 2 || did.DeadLetters != 1 || did.Duplicates != 1 || did.FailedAttempts == 0 {
				t.Errorf("%+v", did)
			}
			idemtest.Processed(t, s.guard, "p-1", "p-2")
			idemtest.ProcessedOnce(t, s.guard, "p-1", `SELECT count(*) FROM charges WHERE payment = $1`, "p-1")
			if letter := idemtest.DeadLettered(t, s.guard, "bad"); !strings.Contains(letter.Error, errBad.Error()) || letter.Offset != 1 {
				t.Errorf("%+v", letter)
			}
			did = idemtest.Consume(t, s.guard, config, records("p-2", "p-3", "bad")...)
			if did.Processed != 1 || did.Duplicates != 2 {
				t.Errorf("produced again: %+v", did)
			}
		})
	}
}

func TestConsumeOfSeveralPartitionsAndTopics(t *testing.T) {
	t.Parallel()
	check := func(pool *pgxpool.Pool) idemtest.Subject {
		all := records("p-1", "p-2", "p-3", "p-4")
		all[1].Partition, all[2].Topic, all[3].Topic = 1, "refunds", ""

		return idemtest.Records(newService(t, pool).guard, forms()["one by one"], all...)
	}
	idemtest.Check(t, check)
}

func TestConsumeReplays(t *testing.T) {
	t.Parallel()
	s := newService(t, idemtest.Pool(t))
	bad := true
	config := consume.Config{Handle: func(ctx context.Context, tx pgx.Tx, m consume.Message) error {
		if bad && string(m.Value) == "p-1" {
			return consume.Permanent(errBad)
		}

		return plain(nil)(ctx, tx, string(m.Value))
	}}
	config.Failure.ParkKeys = true
	config.Failure.DeadLetterSuffix = "-dlt"
	all := records("p-1", "p-2")
	for i := range all {
		all[i].Key = []byte("alice")
	}
	did := idemtest.Consume(t, s.guard, config, all...)
	if did.DeadLetters != 1 || did.Parked != 1 || did.Processed != 0 || len(did.Copies) != 1 || did.Copies[0].Topic != "payments-dlt" {
		t.Fatalf("%+v", did)
	}
	if letter := idemtest.DeadLettered(t, s.guard, "p-2"); letter.State != idem.DeadLetterParked {
		t.Errorf("%+v", letter)
	}

	bad = false
	client, err := ops.New(s.pool, ops.Config{})
	if err != nil {
		t.Fatal(err)
	}
	plan, err := client.PlanReplay(t.Context(), ops.DeadLetterChoice{IDs: []string{idemtest.DeadLettered(t, s.guard, "p-1").ID.String()}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.ReplayDeadLetters(t.Context(), plan, nil); err != nil {
		t.Fatal(err)
	}
	if did := idemtest.Consume(t, s.guard, config); did.Replayed != 2 {
		t.Errorf("%+v", did)
	}
	idemtest.Processed(t, s.guard, "p-1", "p-2")
}

func TestConsumeStops(t *testing.T) {
	t.Parallel()
	s := newService(t, idemtest.Pool(t))
	config := forms()["one by one"]
	config.Failure.Policy = consume.StopOnFailure
	did := idemtest.Consume(t, s.guard, config, records("p-1", "bad", "p-2")...)
	if did.Stopped == nil || did.Stopped.Offset != 1 || did.Processed != 1 {
		t.Errorf("%+v", did)
	}
	idemtest.NotProcessed(t, s.guard, "bad", "p-2")
	if did := idemtest.Consume(t, s.guard, config, records("p-2")...); did.Processed != 1 {
		t.Errorf("%+v", did)
	}
}

// A consumer for new records alone gets those that it is given.
func TestConsumeFromLatest(t *testing.T) {
	t.Parallel()
	for _, mode := range []consume.Mode{consume.ByEventIDAndCheckpoint, consume.ByEventID, consume.ByCheckpoint} {
		s := newService(t, idemtest.Pool(t))
		config := forms()["one by one"]
		config.Mode, config.Start = mode, consume.FromLatest
		for _, id := range []string{"p-1", "p-2"} {
			if did := idemtest.Consume(t, s.guard, config, records(id)...); did.Processed != 1 {
				t.Errorf("%v: %+v", mode, did)
			}
		}
	}
}

func TestConsumeSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	s := newService(t, idemtest.Pool(t))
	said := run(func(t testing.TB) { idemtest.Consume(t, s.guard, consume.Config{}) })
	wantSaid(t, said, []string{"give one of Handle, HandleQueue and HandleBatch"})
	said = run(func(t testing.TB) {
		idemtest.Consume(t, s.guard, consume.Config{Handle: func(context.Context, pgx.Tx, consume.Message) error {
			t.Fatal("not in a handler")

			return nil
		}}, records("p-1")...)
	})
	wantSaid(t, said, []string{"not in a handler", consume.ErrHandlerExited.Error()})
}

func TestCrashAndAsserts(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for point, want := range map[idemtest.Point]struct{ runs, effects int }{
		idemtest.BeforeClaim: {0, 0}, idemtest.AfterHandler: {1, 0}, idemtest.AfterCommit: {1, 1},
		idemtest.CommitLost: {2, 1}, idemtest.CommitUnanswered: {1, 1},
	} {
		s := newService(t, idemtest.Pool(t))
		runs := 0
		deliver := func(ctx context.Context) error {
			_, err := s.guard.ProcessIfNew(ctx, "p-1", func(ctx context.Context, tx pgx.Tx) error {
				runs++

				return plain(nil)(ctx, tx, "p-1")
			})

			return err
		}
		const effects = `SELECT count(*) FROM charges`
		idemtest.Crash(t, s.pool, point, deliver)
		var n int
		if err := s.pool.QueryRow(ctx, effects).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if runs != want.runs || n != want.effects {
			t.Errorf("%v: %d runs, %d effects; want %+v", point, runs, n, want)
		}
		if want.effects == 0 {
			idemtest.NotProcessed(t, s.guard, "p-1")
			wantSaid(t, run(func(t testing.TB) { idemtest.Processed(t, s.guard, "p-1") }),
				[]string{`event "p-1" is not processed: the guard does not know it`})
		}
		idemtest.Race(t, 5, deliver)
		idemtest.ProcessedOnce(t, s.guard, "p-1", effects)
		said := run(func(t testing.TB) { idemtest.Crash(t, s.pool, point, deliver) })
		if point != idemtest.BeforeClaim {
			wantSaid(t, said, []string{fmt.Sprint(point), "no transaction came to that point"})
		}
		wantSaid(t, run(func(t testing.TB) { idemtest.NotProcessed(t, s.guard, "p-1") }), []string{"was to be left alone: it is processed"})
		wantSaid(t, run(func(t testing.TB) { idemtest.ProcessedOnce(t, s.guard, "p-1", `SELECT 2`) }), []string{"took effect 2 times, want once: it is processed"})
		wantSaid(t, run(func(t testing.TB) { idemtest.DeadLettered(t, s.guard, "p-1") }), []string{"is no dead letter: it is processed"})
	}
}

// A service may make its pool itself, by the connection string.
func TestPoolOfTheService(t *testing.T) {
	t.Parallel()
	other := func(t testing.TB, dsn string) *pgxpool.Pool {
		t.Helper()
		pool, err := pgxpool.New(t.Context(), dsn)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(pool.Close)

		return pool
	}
	s := newService(t, idemtest.Pool(t))
	pool := other(t, s.pool.Config().ConnString())
	guard, err := idem.New(pool, idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	idemtest.Crash(t, pool, idemtest.CommitUnanswered, func(ctx context.Context) error {
		_, err := guard.ProcessIfNew(ctx, "p-1", func(ctx context.Context, tx pgx.Tx) error { return plain(s)(ctx, tx, "p-1") })

		return err
	})
	idemtest.ProcessedOnce(t, guard, "p-1", `SELECT count(*) FROM charges`)

	elsewhere := other(t, pgtest.NewServiceDB(t).DSN)
	said := run(func(t testing.TB) {
		idemtest.Crash(t, elsewhere, idemtest.AfterCommit, func(context.Context) error { return nil })
	})
	wantSaid(t, said, []string{"the pool is none of Pool"})
	said = run(func(t testing.TB) {
		idemtest.Check(t, func(pool *pgxpool.Pool) idemtest.Subject {
			newService(t, pool)
			guard, err := idem.New(elsewhere, idem.Config{Consumer: "payments"})
			if err != nil {
				t.Fatal(err)
			}

			return idemtest.Events(guard)
		})
	})
	wantSaid(t, said, []string{"the guard's pool is neither the one that setup was given"})
}

package cli

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
)

// leases makes leases of the consumer "payments".
func (b *bundle) leases(t *testing.T, config lease.Config) *lease.Leases {
	t.Helper()
	guard, err := idem.New(b.db.Pool(t), idem.Config{Consumer: "payments"})
	if err != nil {
		t.Fatal(err)
	}
	leases, err := lease.New(guard, config)
	if err != nil {
		t.Fatal(err)
	}

	return leases
}

// noAnswer is an effect with a step, after which nobody knows what happened.
func noAnswer(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
	_, err := a.Step(ctx, "reserve\x1b[2J", func(context.Context) (lease.Result, error) {
		return lease.Result{ContentType: "text/plain", Body: []byte("reservation 7")}, nil
	})
	if err != nil {
		return lease.Result{}, err
	}

	return lease.Result{}, lease.Unknown(errors.New("no answer\x1b[2J"))
}

func TestLeaseDecide(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := b.leases(t, lease.Config{})
	const fingerprint = 7
	undecided := func(id string) {
		if _, err := leases.Do(t.Context(), id, noAnswer, lease.WithFingerprint(fingerprint)); !errors.As(err, new(*lease.UndecidedError)) {
			t.Fatal(err)
		}
	}
	undecided("paid")
	undecided("unpaid")
	contains(t, b.ok(t, "lease", "list", "-s", "undecided"), "payments", "paid", "unpaid", "undecided", `"no answer\x1b[2J"`)
	contains(t, b.ok(t, "lease", "list", "-s", "released"), "No lease is chosen")
	contains(t, b.ok(t, "status"), "2 undecided", "2 events of payments may have taken effect or not")
	contains(t, b.ok(t, "lease", "show", "paid", "-c", "payments"), "1, of which 1 may have taken effect", `"reserve\x1b[2J", took effect`, "reservation 7", `no answer\x1b[2J`)
	if l := decode[ops.LeaseDetails](t, b.ok(t, "lease", "show", "paid", "-c", "payments", "--json")); l.State != ops.LeaseUndecided || l.Attempts != 1 || l.Unknown != 1 || *l.Steps[0].BodyText != "reservation 7" {
		t.Errorf("%+v", l)
	}
	if l := decode[[]ops.Lease](t, b.ok(t, "lease", "list", "--json", "--consumer", "payments")); len(l) != 2 {
		t.Errorf("%+v", l)
	}
	r := b.run(t, "lease", "list", "--limit", "1")
	r.want(t, 0, "There are more than these 1")

	result := filepath.Join(t.TempDir(), "charge.json")
	if err := os.WriteFile(result, []byte(`{"charge":"ch_1"}`), 0o600); err != nil {
		t.Fatal(err)
	}
	b.run(t, "lease", "decide", "paid", "-c", "payments", "--took-effect").want(t, exitUnconfirmed, "will count as completed", "1 of 1 attempt")
	contains(t, b.ok(t, "lease", "decide", "paid", "-c", "payments", "--took-effect", "--result", result, "--by", "alice", "--reason", "found it", "--yes"), "Event paid of payments is completed")
	done, err := leases.Do(t.Context(), "paid", noAnswer, lease.WithFingerprint(fingerprint))
	if err != nil || done.Outcome != lease.AlreadyProcessed || string(done.Result.Body) != `{"charge":"ch_1"}` || done.Result.ContentType != "application/json" {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := leases.Do(t.Context(), "paid", noAnswer, lease.WithFingerprint(8)); !errors.As(err, new(*idem.CollisionError)) {
		t.Errorf("with another payload: %v", err)
	}
	contains(t, b.ok(t, "show", "paid", "-c", "payments"), "alice (", "found it")

	if d := decode[ops.LeaseDecided](t, b.ok(t, "lease", "decide", "unpaid", "-c", "payments", "--rerun", "--by", "alice", "--reason", "not there", "--yes", "--json")); d.TookEffect || d.Reason != "not there" {
		t.Errorf("%+v", d)
	}
	contains(t, b.ok(t, "lease", "show", "unpaid", "-c", "payments"), "released", "run again", "alice (", "not there")
	done, err = leases.Do(t.Context(), "unpaid", func(_ context.Context, a *lease.Attempt) (lease.Result, error) {
		if a.Number != 2 || a.Unknown != 1 {
			t.Errorf("attempt %d, %d unknown", a.Number, a.Unknown)
		}

		return lease.Result{}, nil
	})
	if err != nil || done.Outcome != lease.Processed {
		t.Errorf("%+v, %v", done, err)
	}
	for _, command := range [][]string{{"show"}, {"decide", "--rerun", "--yes"}, {"decide", "--took-effect", "--yes"}} {
		b.run(t, append([]string{"lease", command[0], "unpaid", "-c", "payments"}, command[1:]...)...).want(t, exitNotFound, "payments has no lease of event unpaid")
	}
}

// While an attempt is running nobody can decide; when it is taken from a process that went away, somebody can.
func TestLeaseDecideWhileItRuns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := b.leases(t, lease.Config{})
	_, err := leases.Do(t.Context(), "e", func(context.Context, *lease.Attempt) (lease.Result, error) {
		contains(t, b.ok(t, "lease", "list"), "running")
		for _, how := range []string{"--rerun", "--took-effect"} {
			b.run(t, "lease", "decide", "e", "-c", "payments", how, "--yes").want(t, exitFailure, "an attempt of event e is running")
		}
		b.exec(t, `UPDATE idem.leases SET until = clock_timestamp()`) // Its process hangs.
		contains(t, b.ok(t, "lease", "list"), "undecided")
		b.ok(t, "lease", "decide", "e", "-c", "payments", "--took-effect", "--yes")

		return lease.Result{}, nil
	})
	if !errors.As(err, new(*lease.LostError)) {
		t.Errorf("it completed what an operator had completed: %v", err)
	}
}

func TestLeaseUsage(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.ok(t, "consumer", "register", "payments")
	b.run(t, "lease", "decide", "e").want(t, exitUsage, "--consumer")
	b.run(t, "lease", "show", "e").want(t, exitUsage, "--consumer")
	b.run(t, "lease", "decide", "e", "-c", "payments").want(t, exitUsage, "--took-effect and --rerun")
	b.run(t, "lease", "decide", "e", "-c", "payments", "--took-effect", "--rerun").want(t, exitUsage, "--took-effect and --rerun")
	b.run(t, "lease", "decide", "e", "-c", "payments", "--rerun", "--result", "x").want(t, exitUsage, "--result")
	b.run(t, "lease", "decide", "e", "-c", "payments", "--took-effect", "--result", filepath.Join(t.TempDir(), "x")).want(t, exitFailure, "read the result")
	b.run(t, "lease", "list", "-s", "lost").want(t, exitUsage, "undecided or all")
	b.run(t, "lease", "list", "-c", "payment").want(t, exitNotFound, "payment is not registered")
	b.run(t, "lease", "show", "", "-c", "payments").want(t, exitUsage, "it is empty")
}

// A lease goes with its consumer, and its holder is refused.
func TestLeasesOfAConsumerThatChanges(t *testing.T) {
	t.Parallel()
	b := setup(t)
	leases := b.leases(t, lease.Config{})
	for _, id := range []string{"a", "b"} {
		if _, err := leases.Do(t.Context(), id, noAnswer); !errors.As(err, new(*lease.UndecidedError)) {
			t.Fatal(err)
		}
	}
	if _, err := leases.Do(t.Context(), "done", func(context.Context, *lease.Attempt) (lease.Result, error) {
		return lease.Result{Body: []byte("receipt")}, nil
	}); err != nil {
		t.Fatal(err)
	}
	_, err := leases.Do(t.Context(), "running", func(context.Context, *lease.Attempt) (lease.Result, error) {
		b.run(t, "consumer", "rename", "payments", "charges", "--watch", "1ms").want(t, exitFailure, "the consumer payments runs")
		b.exec(t, `UPDATE idem.leases SET until = clock_timestamp() - interval '1 hour' WHERE event_id = 'running'`) // Its process hangs.
		contains(t, b.ok(t, "consumer", "rename", "payments", "charges", "--watch", "1ms"), "1 event", "3 leases")

		return lease.Result{}, nil
	})
	if !errors.As(err, new(*lease.LostError)) {
		t.Errorf("it completed an event of a consumer that is gone: %v", err)
	}
	contains(t, b.ok(t, "lease", "show", "a", "-c", "charges"), "undecided", "reservation 7")
	if n := b.one(t, `SELECT count(*) FROM idem.results WHERE step = '' AND consumer_id = idem.consumer_id('charges')`); n != 1 {
		t.Errorf("%d results were moved", n)
	}
	b.run(t, "consumer", "delete", "charges").want(t, exitUnconfirmed, "3 leases")
	contains(t, b.ok(t, "consumer", "delete", "charges", "--yes", "--watch", "1ms"), "3 leases")
	if n := b.one(t, `SELECT (SELECT count(*) FROM idem.leases) + (SELECT count(*) FROM idem.results) + (SELECT count(*) FROM idem.consumers)`); n != 0 {
		t.Errorf("%d rows are left", n)
	}
}

// The cleaner forgets the leases to which nobody comes back, and never one about which somebody has to decide.
func TestCleanupOfLeases(t *testing.T) {
	t.Parallel()
	b := setup(t)
	of := map[string]*lease.Leases{
		"decide": b.leases(t, lease.Config{}),
		"rerun":  b.leases(t, lease.Config{Unknown: lease.Rerun()}),
	}
	fails := func(context.Context, *lease.Attempt) (lease.Result, error) {
		return lease.Result{}, errors.New("refused")
	}
	pays := func(context.Context, *lease.Attempt) (lease.Result, error) {
		return lease.Result{Body: []byte("receipt")}, nil
	}
	for _, age := range []time.Duration{0, 8 * 24 * time.Hour} {
		for policy, leases := range of {
			for what, fn := range map[string]lease.Func{"unknown": noAnswer, "fails": fails, "pays": pays} {
				id := what + " " + policy
				if age > 0 {
					id = "old " + id
				}
				_, _ = leases.Do(t.Context(), id, fn)
			}
		}
		if age == 0 {
			continue
		}
		b.exec(t, `UPDATE idem.leases SET until = until - $1::interval WHERE event_id LIKE 'old %'`, age)
		b.exec(t, `UPDATE idem.processed_events SET processed_at = processed_at - $1::interval WHERE event_id LIKE 'old %'`, age)
	}
	b.ok(t, "cleanup")
	b.wants(t, `SELECT event_id FROM idem.leases ORDER BY 1`,
		"fails decide", "fails rerun", "old unknown decide", "unknown decide", "unknown rerun")
	b.wants(t, `SELECT event_id FROM idem.processed_events ORDER BY 1`, "pays decide", "pays rerun")
	b.wants(t, `SELECT coalesce(e.event_id, l.event_id) || ' ' || (step = '')::text FROM idem.results r
		LEFT JOIN idem.processed_events e USING (consumer_id, key) LEFT JOIN idem.leases l USING (consumer_id, key) ORDER BY 1`,
		"old unknown decide false", "pays decide true", "pays rerun true", "unknown decide false", "unknown rerun false")

	// What is forgotten by hand goes with its result.
	b.ok(t, "forget", "pays decide", "unknown decide", "-c", "payments", "--yes")
	b.wants(t, `SELECT step FROM idem.results JOIN idem.processed_events USING (consumer_id, key)`, "")
	b.wants(t, `SELECT count(*)::text FROM idem.leases`, "5")

	// An event that was processed otherwise needs no decision any more.
	b.ok(t, "mark", "old unknown decide", "-c", "payments")
	contains(t, b.ok(t, "status"), "1 undecided")
	b.ok(t, "cleanup")
	b.wants(t, `SELECT event_id FROM idem.leases WHERE event_id LIKE 'old %'`)
}

// wants checks the only column of a query.
func (b *bundle) wants(t *testing.T, sql string, want ...string) {
	t.Helper()
	rows, err := b.conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	got, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%s: got %q, %v; want %q", sql, got, err, want)
	}
}

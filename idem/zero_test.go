package idem_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// A Guard or Cleaner that was not made by its constructor says so.
func TestZeroValues(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, g := range []*idem.Guard{nil, {}} {
		_, processErr := g.ProcessIfNew(ctx, "e", effect("e"))
		_, claimErr := g.ClaimTx(ctx, struct{ pgx.Tx }{}, "e")
		_, resolveErr := g.Resolve(ctx, idem.Claim{EventID: "e"})
		_, isErr := g.IsProcessed(ctx, "e")
		_, lookupErr := g.Lookup(ctx, "e")
		_, markErr := g.MarkProcessed(ctx, "e")
		_, markAllErr := g.MarkAllProcessed(ctx, []string{"e"})
		_, forgetErr := g.Forget(ctx, "e")
		_, cleanErr := g.CleanupOldEvents(ctx)
		for i, err := range []error{
			g.Register(ctx), processErr, claimErr, resolveErr, isErr, lookupErr, markErr, markAllErr, forgetErr, cleanErr,
		} {
			if !errors.Is(err, idem.ErrInvalidConfig) {
				t.Errorf("call %d of %#v: %v", i, g, err)
			}
		}
	}
	for _, c := range []*idem.Cleaner{nil, {}} {
		_, cleanErr := c.Clean(ctx)
		for _, err := range []error{cleanErr, c.Run(ctx)} {
			if !errors.Is(err, idem.ErrInvalidConfig) {
				t.Errorf("%#v: %v", c, err)
			}
		}
	}
}

func TestRetentionConflictSaysWhatToDo(t *testing.T) {
	t.Parallel()
	err := &idem.RetentionConflictError{Consumer: "orders", Configured: 48 * time.Hour, Registered: time.Hour}
	const want = `idem: consumer "orders" is registered with a retention of 1h0m0s but configured with 48h0m0s; ` +
		`to change it for all its processes run: idemctl consumer set-retention orders 48h0m0s`
	if err.Error() != want {
		t.Errorf("the error says\n%s\nwant\n%s", err, want)
	}
}

// The first call of a guard registers it; many first calls at once are no problem.
func TestLazyRegistrationAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const goroutines = 20
	errs := make(chan error, goroutines)
	for i := range goroutines {
		go func() {
			id := strconv.Itoa(i)
			outcome, err := b.guard.ProcessIfNew(t.Context(), id, effect(id))
			if err == nil && outcome != idem.Processed {
				err = fmt.Errorf("outcome %v", outcome)
			}
			errs <- err
		}()
	}
	for range goroutines {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	var consumers, owners int
	err := b.pool.QueryRow(t.Context(), `SELECT (SELECT count(*) FROM idem.consumers),
		(SELECT count(DISTINCT consumer_id) FROM idem.processed_events)`).Scan(&consumers, &owners)
	if err != nil || consumers != 1 || owners != 1 {
		t.Errorf("%d consumers, %d of them with events, %v", consumers, owners, err)
	}
}

// Nothing depends on the clocks of the machines that claim: a claim's id holds the time of one,
// retention goes by processed_at, which is the server's.
func TestClaimIDsMayHoldAnyTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	guard := b.age(t, "c", time.Hour, 2) // 1 h and 2 h old, both just expired
	b.exec(t, `UPDATE idem.processed_events SET claim_id = CASE event_id
		WHEN 'e1' THEN 'ffffffff-ffff-7fff-bfff-ffffffffffff'::uuid ELSE '00000000-0000-7000-8000-000000000000' END,
		processed_at = CASE event_id WHEN 'e1' THEN processed_at ELSE now() + interval '1 day' END`)
	for _, id := range []string{"e1", "e2"} {
		outcome, err := guard.ProcessIfNew(t.Context(), id, func(context.Context, pgx.Tx) error { return errBoom })
		want(t, id, outcome, err, idem.AlreadyProcessed)
	}
	report, err := guard.CleanupOldEvents(t.Context())
	if err != nil || report.Deleted != 1 {
		t.Fatalf("%+v, %v", report, err)
	}
	// A row from the future, as a clock that was set back leaves it, is kept, not lost.
	if done, err := guard.IsProcessed(t.Context(), "e2"); !done || err != nil {
		t.Errorf("e2: %v, %v", done, err)
	}
}

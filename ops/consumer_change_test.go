package ops_test

import (
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/schema"
)

var unwatched = ops.ChangeOptions{Watch: time.Millisecond}

// Somebody binds the consumer anew between another's plan and its confirmation: the group that the other has not seen keeps it.
func TestRebindOfAConsumerThatIsBoundAnewSince(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ cluster, group, now string }{
		"another group":             {"first", "new", "new of cluster first"},
		"the same of another place": {"second", "old", "old of cluster second"},
		"none":                      {"", "", "no group"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			if err := b.guard.Bind(t.Context(), "first", "old"); err != nil {
				t.Fatal(err)
			}
			client := b.ownerClient(t)
			plan, err := client.PlanRebind(t.Context(), "orders", "first", "third")
			if err != nil {
				t.Fatal(err)
			}
			other, err := client.PlanRebind(t.Context(), "orders", c.cluster, c.group)
			if err == nil {
				err = client.Rebind(t.Context(), other, unwatched)
			}
			if err != nil {
				t.Fatal(err)
			}
			err = client.Rebind(t.Context(), plan, unwatched)
			wantErr(t, "bound anew", err, ops.ErrChanged)
			if err != nil && err.Error() != "orders belongs to "+c.now+" by now; nothing was changed" {
				t.Error(err)
			}
			if again, err := client.PlanRebind(t.Context(), "orders", "first", "third"); err != nil {
				t.Error(err)
			} else if err := client.Rebind(t.Context(), again, unwatched); err != nil {
				t.Errorf("with a plan of now: %v", err)
			}
		})
	}
}

// A plan of a consumer that belonged to no group frees it of none.
func TestRebindOfAConsumerThatIsBoundSince(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := b.ownerClient(t)
	plan, err := client.PlanRebind(t.Context(), "orders", "cluster", "planned")
	if err != nil {
		t.Fatal(err)
	}
	if err := b.guard.Bind(t.Context(), "cluster", "came first"); err != nil {
		t.Fatal(err)
	}
	wantErr(t, "a group came first", client.Rebind(t.Context(), plan, unwatched), ops.ErrChanged)
	if err := b.guard.Bind(t.Context(), "cluster", "came first"); err != nil {
		t.Error(err)
	}
}

// A consumer that has stored something since it was counted is not deleted with it.
func TestDeletionOfMoreThanWasCounted(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := b.ownerClient(t)
	mark := func() error { return second(b.guard.MarkProcessed(t.Context(), "e")) }
	for what, act := range map[string]func() error{
		"unresolved dead letters": func() error {
			b.store(t, 1)

			return nil
		},
		"events":      mark,
		"checkpoints": func() error { return second(b.guard.Acquire(t.Context(), partition, idem.AcquireOptions{})) },
	} {
		plan, err := client.PlanDelete(t.Context(), "orders")
		if err == nil {
			err = act()
		}
		if err != nil {
			t.Fatal(err)
		}
		_, err = client.DeleteConsumer(t.Context(), plan, unwatched)
		if wantErr(t, what, err, ops.ErrChanged); err != nil && !strings.Contains(err.Error(), "orders has more "+what+" by now") {
			t.Error(err)
		}
	}
	plan, err := client.PlanDelete(t.Context(), "orders")
	if err != nil || plan.UnresolvedDeadLetters != 1 || plan.Checkpoints != 1 {
		t.Fatal(plan, err)
	}
	if err := second(b.guard.Forget(t.Context(), "e")); err != nil { // Less is no reason: cleanup deletes, too.
		t.Fatal(err)
	}
	if done, err := client.DeleteConsumer(t.Context(), plan, unwatched); err != nil || !done.Complete {
		t.Error(done, err)
	}
}

// Somebody migrates the tables between another's plan and its confirmation: what the other has not seen is not taken back.
func TestMigrationThatWouldTakeBackMoreThanPlanned(t *testing.T) {
	t.Parallel()
	b := setup(t)
	client := b.ownerClient(t)
	migrate := func(to int64) ops.MigrationPlan {
		t.Helper()
		plan, err := client.PlanMigration(t.Context(), to)
		if err == nil {
			_, err = client.Migrate(t.Context(), plan, nil)
		}
		if err != nil {
			t.Fatal(err)
		}

		return plan
	}
	migrate(schema.Version - 2)
	for what, to := range map[string]int64{"down": schema.Version - 3, "up": schema.Version - 1} {
		plan, err := client.PlanMigration(t.Context(), to)
		if err != nil {
			t.Fatal(err)
		}
		migrate(schema.Version)
		_, err = client.Migrate(t.Context(), plan, nil)
		wantErr(t, what, err, ops.ErrChanged)
		if all, err := client.Migrations(t.Context()); err != nil || all.Applied() != schema.Version {
			t.Errorf("%s: version %d, %v", what, all.Applied(), err)
		}
		migrate(schema.Version - 2)
	}
}

func second[T any](_ T, err error) error { return err }

package cli

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// fill gives a consumer events, all with fingerprints, a checkpoint, dead letters and a binding.
func (b *bundle) fill(t *testing.T, consumer string, rows int) {
	t.Helper()
	b.register(t, consumer, "1000d")
	b.age(t, consumer, rows)
	b.exec(t, `UPDATE idem.processed_events SET fingerprint = 1, metadata = '{"user": 1}' WHERE consumer_id = idem.consumer_id($1)`, consumer)
	b.exec(t, `UPDATE idem.consumers SET bound_group = 'g', bound_cluster = 'k' WHERE name = $1`, consumer)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, owner_token)
		SELECT idem.consumer_id($1), 'orders', n, 100 * n, gen_random_uuid() FROM generate_series(0, 2) n`, consumer)
	b.exec(t, `INSERT INTO idem.dead_letters (id, key, topic_id, record_offset, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values, failed_at, state)
		SELECT gen_random_uuid(), md5('key' || n)::uuid, gen_random_uuid(), n, gen_random_uuid(), idem.consumer_id($1), 0, 1, 'orders', 'bad', '{}', '{}', now() - interval '1 day', CASE WHEN n > 2 THEN 'discarded' ELSE 'open' END
		FROM generate_series(1, 7) n`, consumer)
}

// rows are all rows of a consumer: events, checkpoints, dead letters and the consumer itself.
func (b *bundle) rows(t *testing.T, consumer string) (counts [4]int64) {
	t.Helper()
	if err := b.conn.QueryRow(t.Context(), `WITH c AS (SELECT idem.consumer_id($1) AS id)
		SELECT (SELECT count(*) FROM idem.processed_events, c WHERE consumer_id = c.id), (SELECT count(*) FROM idem.checkpoints, c WHERE consumer_id = c.id),
		       (SELECT count(*) FROM idem.dead_letters, c WHERE consumer_id = c.id), (SELECT count(*) FROM idem.consumers k, c WHERE k.id = c.id)`,
		consumer).Scan(&counts[0], &counts[1], &counts[2], &counts[3]); err != nil {
		t.Fatal(err)
	}

	return counts
}

func TestRename(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "old", 12000)
	b.fill(t, "bystander", 10)
	b.ok(t, "consumer", "pause", "old")
	got := decode[ops.RenameResult](t, b.ok(t, "consumer", "rename", "old", "new", "--watch", "10ms", "--json"))
	if want := (ops.RenameResult{Consumer: "new", Previous: "old", Events: 12000, Checkpoints: 3, DeadLetters: 7, Complete: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, want := range map[string][4]int64{"old": {}, "new": {12000, 3, 7, 1}, "bystander": {10, 3, 7, 1}} {
		if got := b.rows(t, name); got != want {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	if n := b.one(t, `SELECT count(*) FROM idem.events e JOIN idem.processed_events p ON p.claim_id = e.claim_id
		WHERE e.consumer = 'new' AND p.fingerprint = 1 AND p.metadata IS NOT NULL AND p.key = idem.event_key(e.event_id)`); n != 12000 {
		t.Errorf("%d of the events are what they were", n)
	}
	b.ok(t, "show", "e11999", "-c", "new")
	list := b.ok(t, "consumer", "list")
	contains(t, list, "new", "1000d", "g of cluster k", "paused since")
	if strings.Contains(list, "being") {
		t.Error(list)
	}
	b.ok(t, "consumer", "register", "new", "--retention", "1000d")
	b.run(t, "consumer", "rename", "old", "new").want(t, exitNotFound, "old is not registered")
	b.run(t, "consumer", "rename", "new", "bystander").want(t, exitFailure, "there is a consumer bystander already")
	b.run(t, "consumer", "rename", "new", "new").want(t, exitUsage, "both names")
	b.run(t, "consumer", "rename", "new", strings.Repeat("x", 256)).want(t, exitUsage, "255")
}

// A rename that was killed in the middle leaves both names closed, so that nobody processes again what
// has not been moved yet, and is gone on with by the same command.
func TestInterruptedRenameGoesOn(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "old", 12000)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	committed := b.tellCommits(t, "UPDATE")
	tx := b.hold(t, `SELECT FROM idem.processed_events WHERE event_id = (SELECT event_id FROM idem.processed_events ORDER BY key OFFSET 7000 LIMIT 1) FOR UPDATE`)
	go func() {
		if committed(ctx) {
			cancel()
		}
	}()
	args := []string{"consumer", "rename", "old", "new", "--watch", "10ms", "--json"}
	r := b.runWith(ctx, strings.NewReader(""), args...)
	r.want(t, exitInterrupted, "interrupted")
	if strings.Contains(r.stderr, "statement_timeout") {
		t.Error(r.stderr)
	}
	if got := decode[ops.RenameResult](t, r.stdout); got.Complete || got.Events != 5000 || got.Checkpoints != 3 {
		t.Errorf("%+v", got)
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}

	pool, err := pgxpool.New(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	for name, want := range map[string]string{"old": "renamed to new", "new": "renamed from old"} {
		guard, err := idem.New(pool, idem.Config{Consumer: name})
		if err != nil {
			t.Fatal(err)
		}
		_, err = guard.ProcessIfNew(t.Context(), "e1", func(context.Context, pgx.Tx) error { return nil })
		if !errors.Is(err, idem.ErrConsumerClosed) || !strings.Contains(err.Error(), want) || idem.IsTransient(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	contains(t, b.ok(t, "consumer", "list"), "is being renamed to new", "is being renamed from old")
	b.run(t, "consumer", "delete", "old", "-y").want(t, exitFailure, "being renamed to new")
	b.run(t, "consumer", "rename", "old", "other").want(t, exitFailure, "being renamed to new")
	for _, change := range [][]string{{"set-retention", "old", "30d"}, {"rebind", "old", "-y"}, {"pause", "old"}, {"resume", "old"}} { // They would be lost.
		b.run(t, append([]string{"consumer"}, change...)...).want(t, exitFailure, "being renamed to new")
	}

	if got := decode[ops.RenameResult](t, b.ok(t, args...)); !got.Complete || got.Events != 7000 || got.DeadLetters != 7 {
		t.Errorf("%+v", got)
	}
	if got := b.rows(t, "new"); got != [4]int64{12000, 3, 7, 1} {
		t.Errorf("new has %v", got)
	}
}

// The consumer that is watched processes something, with a checkpoint or without, or fails at it.
func TestRunningConsumersAreNotChanged(t *testing.T) {
	t.Parallel()
	for name, act := range map[string]string{
		"claims":   `INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id) SELECT idem.consumer_id('old'), gen_random_uuid(), '00000000-0000-7000-8000-000000000000', 'now'`,
		"commits":  `INSERT INTO idem.processed_events (consumer_id, key, claim_id, event_id, processed_at) SELECT idem.consumer_id('old'), gen_random_uuid(), '00000000-0000-7000-8000-000000000000', 'now', now() - INTERVAL '1 minute'`, // In a transaction that began before.
		"advances": `UPDATE idem.checkpoints SET next_offset = next_offset + 1 WHERE partition = 1`,
		"acquires": `UPDATE idem.checkpoints SET epoch = epoch + 1 WHERE partition = 1`,
		"fails":    `UPDATE idem.dead_letters SET failed_at = clock_timestamp() WHERE record_offset = 1`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.fill(t, "old", 10)
			b.exec(t, `CREATE FUNCTION public.act() RETURNS void LANGUAGE sql SET search_path = pg_catalog AS $$ `+act+` $$`)
			for _, line := range []string{"rename old new", "delete old -y", "rebind old -y"} {
				ended := make(chan result, 1)
				go func() {
					ended <- b.runWith(t.Context(), strings.NewReader(""), strings.Fields("consumer "+line+" --watch 300ms")...)
				}()
				for running := true; running; {
					select {
					case r := <-ended:
						r.want(t, exitFailure, "old runs", "Nothing was changed")
						running = false
					default:
						b.exec(t, `SELECT public.act()`)
					}
				}
				b.exec(t, `DELETE FROM idem.processed_events WHERE event_id = 'now'`)
			}
			if got := b.rows(t, "old"); got != [4]int64{10, 3, 7, 1} {
				t.Errorf("old has %v", got)
			}
			if n := b.one(t, `SELECT count(*) FROM idem.consumers WHERE closed IS NOT NULL OR name = 'new' OR bound_group IS NULL`); n != 0 {
				t.Error("a consumer is closed, or bound anew")
			}
		})
	}
}

func TestDeleteConsumer(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "old", 12000)
	b.fill(t, "bystander", 10)
	args := []string{"consumer", "delete", "old", "--watch", "10ms"}
	b.run(t, args...).want(t, exitUnconfirmed, "12,000 events", "3 checkpoints", "7 dead letters (2 not resolved)", "--yes")
	if got := b.rows(t, "old"); got != [4]int64{12000, 3, 7, 1} {
		t.Errorf("old has %v", got)
	}
	got := decode[ops.DeleteResult](t, b.ok(t, append(args, "--yes", "--json")...))
	if want := (ops.DeleteResult{Consumer: "old", Events: 12000, Checkpoints: 3, DeadLetters: 7, Complete: true}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for name, want := range map[string][4]int64{"old": {}, "bystander": {10, 3, 7, 1}} {
		if got := b.rows(t, name); got != want {
			t.Errorf("%s has %v, want %v", name, got, want)
		}
	}
	b.run(t, append(args, "-y")...).want(t, exitNotFound, "not registered")
}

func TestRebind(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	pool, err := pgxpool.New(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	guard, err := idem.New(pool, idem.Config{Consumer: "orders"})
	if err != nil {
		t.Fatal(err)
	}
	bind := func(cluster, group string, wanted bool) {
		t.Helper()
		var bound *idem.BindingError
		if err := guard.Bind(t.Context(), cluster, group); wanted && err != nil || !wanted && !errors.As(err, &bound) {
			t.Errorf("bind to %s of %s: %v", group, cluster, err)
		}
	}
	bind("k", "first", true)
	bind("k", "second", false)
	contains(t, b.ok(t, "consumer", "list"), "GROUP", "first of cluster k")
	b.run(t, "consumer", "rebind", "orders").want(t, exitUnconfirmed, "belongs to first of cluster k", "--yes")
	bind("k", "second", false)
	contains(t, b.ok(t, "consumer", "rebind", "orders", "-y", "--watch", "1ms"), "belonged to first of cluster k; it now belongs to the next group that uses it")
	bind("k", "second", true)
	bind("k", "first", false)
	got := decode[ops.RebindPlan](t, b.ok(t, "consumer", "rebind", "orders", "--group", "third", "--cluster", "q", "-y", "--watch", "1ms", "--json"))
	if *got.PreviousGroup != "second" || *got.Group != "third" || *got.Cluster != "q" {
		t.Errorf("%+v", got)
	}
	bind("k", "second", false)
	bind("q", "third", true)
	b.run(t, "consumer", "rebind", "orders", "--group", "x").want(t, exitUsage, "--group and --cluster")
	b.run(t, "consumer", "rebind", "nobody").want(t, exitNotFound, "nobody is not registered")
}

// With the rights of a service the commands that belong to the owner of the tables fail, change nothing, report
// nothing as done, and say which role they need.
func TestOwnersCommandsNameTheRole(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "orders", 10)
	role := b.db.Name + "_service"
	b.exec(t, "CREATE ROLE "+role)
	t.Cleanup(func() { _, _ = b.conn.Exec(context.Background(), "DROP OWNED BY "+role+"; DROP ROLE "+role) })
	b.exec(t, b.ok(t, "migrate", "print", "--grants", role))
	b.env["IDEM_DATABASE_URL"] += "&role=" + role
	for _, args := range [][]string{
		{"consumer", "rename", "orders", "sales", "--watch", "1ms"},
		{"consumer", "delete", "orders", "-y", "--watch", "1ms"},
		{"consumer", "set-retention", "orders", "900d", "-y"},
		{"migrate", "status"},
	} {
		r := b.run(t, args...)
		r.want(t, exitFailure, "permission denied", "need the role that owns the tables")
		if r.stdout != "" {
			t.Errorf("%v: stdout has %q", args, r.stdout)
		}
	}
	if got, want := b.rows(t, "orders"), [4]int64{10, 3, 7, 1}; got != want {
		t.Errorf("orders has %v, want %v", got, want)
	}
	contains(t, b.ok(t, "consumer", "list"), "orders", "1000d", "g of cluster k")
}

package ops_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// What idemctl's own tests cannot bring about in time is found by options: see doctor_test.go there.

// found returns the findings of a check that are not ok.
func (b *bundle) found(t *testing.T, id string, opts ops.DoctorOptions) (found []ops.Finding) {
	t.Helper()
	d, err := b.client.Diagnose(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	made := false
	for _, f := range d.Findings {
		made = made || f.ID == id
		if f.ID == id && f.Severity != ops.SeverityOK {
			found = append(found, f)
		}
	}
	if !made {
		t.Fatalf("there is no check %s", id)
	}

	return found
}

// heal wants one finding that has seen a text, executes its commands and wants none.
func (b *bundle) heal(t *testing.T, id, text string, opts ops.DoctorOptions) {
	t.Helper()
	found := b.found(t, id, opts)
	if len(found) != 1 || found[0].Severity != ops.SeverityWarning || !strings.Contains(found[0].Subject+": "+found[0].Seen, text) {
		t.Fatalf("%s: %+v, want %q", id, found, text)
	}
	for _, command := range found[0].Commands {
		b.exec(t, command)
	}
	await.Until(t, "the end of "+found[0].Seen, func() bool { return len(b.found(t, id, opts)) == 0 }) // Sessions take a while to end.
}

func TestDiagnoseFindsWhatIsOpenForLong(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.client = b.ownerClient(t) // The transactions of other roles are hidden from a service's.
	short := ops.DoctorOptions{LongTransaction: time.Microsecond}
	holder, err := pgx.Connect(t.Context(), b.db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = holder.Close(context.Background()) })
	if _, err := holder.Exec(t.Context(), "BEGIN"); err != nil {
		t.Fatal(err)
	}
	if _, err := holder.Exec(t.Context(), "SET application_name = 'forgotten'"); err != nil {
		t.Fatal(err)
	}
	if found := b.found(t, "long-transaction", ops.DoctorOptions{}); len(found) > 0 {
		t.Errorf("at once: %+v", found)
	}
	b.heal(t, "long-transaction", "forgotten of postgres: in a transaction for ", short)

	conn, err := b.owner.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"BEGIN", "SELECT pg_catalog.pg_current_xact_id()", "PREPARE TRANSACTION '" + b.db.Name + "'"} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	conn.Release()
	b.heal(t, "long-transaction", "prepared transaction "+b.db.Name+": postgres prepared it", short)
}

func TestDiagnoseFindsUnusedRoom(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "ALTER TABLE idem.processed_events SET (autovacuum_enabled = off)") // Its snapshot can keep rows.
	b.exec(t, `INSERT INTO idem.processed_events (consumer_id, key, claim_id)
		SELECT c.id, pg_catalog.gen_random_uuid(), pg_catalog.gen_random_uuid() FROM idem.consumers c, pg_catalog.generate_series(1, 25000)`)
	b.exec(t, `DELETE FROM idem.processed_events WHERE ctid OPERATOR(pg_catalog.<) '(200,0)'::pg_catalog.tid`)
	b.exec(t, "VACUUM idem.processed_events")
	if found := b.found(t, "unused-room", ops.DoctorOptions{}); len(found) > 0 {
		t.Errorf("little: %+v", found)
	}
	b.heal(t, "unused-room", "dead rows and free space", ops.DoctorOptions{Unused: 1 << 20})
}

// The clock of this machine is set by hand.
func TestDiagnoseFindsClocksApart(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for wrong, want := range map[time.Duration]string{time.Minute: "the server's clock is 1m0s behind this machine's", -time.Minute: "the server's clock is 1m0s ahead of this machine's"} {
		found := b.found(t, "clock", ops.DoctorOptions{Clock: func() time.Time { return time.Now().Add(wrong) }})
		if len(found) != 1 || found[0].Severity != ops.SeverityWarning || found[0].Seen != want {
			t.Errorf("%+v, want %q", found, want)
		}
	}
	if found := b.found(t, "clock", ops.DoctorOptions{}); len(found) > 0 {
		t.Errorf("set right: %+v", found)
	}
}

func TestDiagnoseRefusesNegativeOptions(t *testing.T) {
	t.Parallel()
	b := setup(t)
	_, err := b.client.Diagnose(t.Context(), ops.DoctorOptions{Quiet: -1})
	wantErr(t, "negative", err, ops.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = b.client.Diagnose(ctx, ops.DoctorOptions{})
	wantErr(t, "cancelled", err, context.Canceled)
}

// A check that cannot be made is no check that is passed, and keeps no other from being made.
func TestDiagnoseTellsWhatItCouldNotFindOut(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "ALTER TABLE idem.dead_letters RENAME COLUMN failed_at TO failed")
	found := b.found(t, "dead-letter-forgotten", ops.DoctorOptions{})
	if len(found) != 1 || found[0].Severity != ops.SeverityUnknown || !strings.Contains(found[0].Seen, "failed_at") {
		t.Errorf("%+v", found)
	}
	b.exec(t, "ALTER TABLE idem.dead_letters RENAME COLUMN failed TO failed_at")
	if found := b.found(t, "dead-letter-forgotten", ops.DoctorOptions{}); len(found) > 0 {
		t.Errorf("%+v", found)
	}
}

// The tables of every schema, through every pool.
func TestDiagnoseOverEveryPool(t *testing.T) {
	t.Parallel()
	for _, mode := range []pgx.QueryExecMode{pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol} {
		t.Run(mode.String(), func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.store(t, 2)
			b.client = newClient(t, b.db.Pool(t, pgtest.MaxConns(1), pgtest.Hostile(), pgtest.ExecMode(mode), styles))
			d, err := b.client.Diagnose(t.Context(), ops.DoctorOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range d.Findings {
				if f.Severity == ops.SeverityUnknown || f.ID == "pooler-mode" && f.Seen != "it leads to PostgreSQL itself" {
					t.Errorf("%+v", f)
				}
			}
		})
	}
}

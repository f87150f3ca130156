package cli

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
)

func TestDLQReplay(t *testing.T) {
	t.Parallel()
	b := setupLetters(t)
	for _, state := range allStates {
		letter{state: state}.store(t, b)
	}
	letter{errText: "refused"}.store(t, b) // 7

	// Letters that are named are not asked about.
	r := b.run(t, "dlq", "replay", "1", "2", "3", "4", "99", "1")
	r.want(t, exitFailure, "there is no dead letter 99")
	contains(t, r.stdout, "1 dead letter set to be replayed.", "within seconds", "idemctl deadletter list --state replay",
		"Dead letter 2 is left alone: it is parked, and follows by itself", "Dead letter 3 is left alone: it is to be replayed already",
		"Dead letter 4 is left alone: it is replayed already")
	if got := b.states(t); got != "replay parked replay replayed discarded superseded open" {
		t.Fatal(got)
	}
	report := decode[letterChangeReport](t, b.ok(t, "dlq", "replay", "1", "--json"))
	if report.Changed != 0 || report.Letters != 0 || !report.Complete || len(report.Unknown) != 0 || report.Unchanged[0] != (letterState{ID: 1, State: "replay"}) {
		t.Errorf("%+v", report)
	}

	// What filters choose is.
	letter{consumer: "mails", errText: "refused"}.store(t, b) // 8
	r = b.run(t, "dlq", "replay", "--error", "refused")
	r.want(t, exitUnconfirmed, "2 dead letters (mails: 1, payments: 1) will be processed again", "--yes")
	if r.stdout != "" || b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'open'`) != 2 {
		t.Fatal("it was done without a confirmation", r.stdout)
	}
	contains(t, b.ok(t, "dlq", "replay", "--error", "refused", "--dry-run"), "ID  CONSUMER", "2 dead letters would be set to be replayed; nothing was changed.")
	dry := decode[letterDryRun](t, b.ok(t, "dlq", "replay", "--all", "--limit", "1", "-n", "--json"))
	if len(dry.Letters) != 1 || dry.Letters[0].ID != 7 || dry.Unchanged == nil || dry.Unknown == nil {
		t.Errorf("%+v", dry)
	}
	contains(t, b.ok(t, "dlq", "replay", "--all", "--limit", "1", "-y"), "1 dead letter set to be replayed")
	if got := b.states(t); got != "replay parked replay replayed discarded superseded replay open" {
		t.Fatal(got)
	}
	contains(t, b.ok(t, "dlq", "replay", "-c", "mails", "-y"), "1 dead letter set to be replayed")
	contains(t, b.ok(t, "dlq", "replay", "--all"), "No dead letter was changed.")
	for line, want := range map[string]string{
		"deadletter replay --all --json":     `{changed:float64 complete:bool letters:float64 unchanged:[] unknown:[]}`,
		"deadletter discard --all -n --json": `{letters:[{attempts:float64 consumer:string error:string event_id:null failed_at:string id:float64 offset:float64 partition:float64 record_time:string resolved_at:null state:string topic:string}] unchanged:[] unknown:[]}`,
	} {
		if got := shape(decode[any](t, b.ok(t, strings.Fields(line)...))); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestDLQDiscard(t *testing.T) {
	t.Parallel()
	b := setupLetters(t)
	for _, state := range allStates {
		letter{state: state}.store(t, b)
	}
	r := b.run(t, "dlq", "discard", "1")
	r.want(t, exitUnconfirmed, "1 dead letter (payments: 1) will be discarded", "--yes")
	if r.stdout != "" || strings.Contains(r.stderr, "parked") {
		t.Error(r.stdout, r.stderr)
	}
	dry := b.run(t, "dlq", "discard", "1", "4", "99", "--dry-run")
	dry.want(t, exitFailure, "there is no dead letter 99")
	contains(t, dry.stdout, "Dead letter 4 is left alone", "1 dead letter would be discarded")
	if got := b.states(t); got != "open parked replay replayed discarded superseded" {
		t.Fatal(got)
	}
	contains(t, b.ok(t, "dlq", "discard", "--topic", "orders", "--yes"), "3 dead letters discarded.")
	if n := b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'discarded' AND resolved_at IS NOT NULL AND id <= 3`); n != 3 {
		t.Errorf("%d are discarded", n)
	}
	if b.one(t, `SELECT count(resolved_at) FROM idem.dead_letters`) != 3 {
		t.Error("others were touched")
	}
}

func TestDiscardTellsWhatItReleases(t *testing.T) {
	t.Parallel()
	b := setupLetters(t)
	k, other := []byte("k"), []byte("\xff")
	letter{key: k}.store(t, b)                                                 // 1
	letter{key: k, state: idem.DeadLetterParked}.store(t, b)                   // 2
	letter{key: k, state: idem.DeadLetterParked}.store(t, b)                   // 3, behind 2, which follows
	letter{key: k, state: idem.DeadLetterParked, topic: "refunds"}.store(t, b) // 4, not behind any
	letter{key: other}.store(t, b)                                             // 5
	letter{key: other, state: idem.DeadLetterReplay}.store(t, b)               // 6
	letter{key: other, state: idem.DeadLetterParked}.store(t, b)               // 7, behind 5 and 6
	letter{key: k, state: idem.DeadLetterParked, consumer: "mails"}.store(t, b)
	for line, want := range map[string]string{
		"1":     "2 parked letters of the same keys waited for that",
		"1 2":   "1 parked letter of the same keys",
		"2":     "",
		"5":     "",
		"5 6":   "1 parked letter of the same keys",
		"1 5 6": "3 parked letters of the same keys",
		"--all": "",
	} {
		r := b.run(t, append([]string{"dlq", "discard"}, strings.Fields(line)...)...)
		r.want(t, exitUnconfirmed, want)
		if want == "" && strings.Contains(r.stderr, "parked letter") {
			t.Errorf("%s: %s", line, r.stderr)
		}
	}
}

// A letter that a consumer is processing is waited for, and left alone once it is processed.
func TestDiscardOfALetterThatIsBeingProcessed(t *testing.T) {
	t.Parallel()
	b := setupLetters(t)
	letter{state: idem.DeadLetterReplay}.store(t, b)
	letter{}.store(t, b)
	tx := b.hold(t, `UPDATE idem.dead_letters SET state = 'replayed' WHERE id = 1`)
	results := make(chan result, 1)
	go func() { results <- b.runWith(t.Context(), strings.NewReader(""), "dlq", "discard", "--all", "-y") }()
	const waiting = `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
	for waiters := int64(0); waiters == 0; {
		waiters = b.one(t, waiting)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	r := <-results
	r.want(t, 0)
	contains(t, r.stdout, "Dead letter 1 is left alone: it is replayed already.", "1 dead letter discarded.")
}

func TestManyLettersGoInParts(t *testing.T) {
	t.Parallel()
	b := setupLetters(t)
	letter{}.store(t, b)
	b.exec(t, `INSERT INTO idem.dead_letters (record_offset, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values)
		SELECT n, claim_id, consumer_id, record_partition, attempts, topic, error, '{}', '{}' FROM idem.dead_letters, generate_series(1, 2499) n`)
	if r := b.run(t, "dlq", "list"); !strings.Contains(r.stderr, "more than these 100") || strings.Count(r.stdout, "\n") != 101 {
		t.Errorf("%s\n%s", r.stdout, r.stderr)
	}
	got := decode[letterChangeReport](t, b.ok(t, "dlq", "replay", "--all", "-y", "--json"))
	if got.Letters != 2500 || got.Changed != 2500 || !got.Complete || len(got.Unchanged) != 0 {
		t.Errorf("%+v", got)
	}
	contains(t, b.ok(t, "dlq", "discard", "--all", "-y"), "2,500 dead letters discarded.")
}

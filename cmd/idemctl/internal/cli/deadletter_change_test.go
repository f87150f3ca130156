package cli

import (
	"strconv"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

func TestDLQReplay(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for _, state := range ops.AllStates() {
		letter{state: state}.store(t, b)
	}
	letter{errText: "refused"}.store(t, b) // 8

	// Dead letters that are named are not asked about.
	r := b.run(t, "dlq", "replay", nth(1), nth(2)[:8], nth(3)[:8], nth(4), nth(99), nth(1)[:8])
	r.want(t, exitNotFound, "there is no dead letter 00000099")
	contains(t, r.stdout, "1 dead letter set to be replayed.", "every 5 s (ReplayInterval), if it runs and is not paused", "idemctl deadletter list --state replay",
		"Dead letter "+nth(2)+" is left alone: it is parked.", "Dead letter "+nth(3)+" is left alone: it is to be replayed already",
		"Dead letter "+nth(4)+" is left alone: it is replayed already")
	if got := b.states(t); got != "replay parked replay replayed discarded superseded expired open" {
		t.Fatal(got)
	}
	report := decode[ops.DeadLetterResult](t, b.ok(t, "dlq", "replay", nth(1), "--json"))
	if report.Changed != 0 || report.DeadLetters != 0 || !report.Complete || len(report.Unknown) != 0 || numbers(report.Unchanged[0].ID) != "1" || report.Unchanged[0].State != idem.DeadLetterReplay {
		t.Errorf("%+v", report)
	}

	// What filters choose is.
	letter{consumer: "mails", errText: "refused"}.store(t, b) // 9
	r = b.run(t, "dlq", "replay", "--error", "refused")
	r.want(t, exitUnconfirmed, "2 dead letters (mails: 1, payments: 1) will be processed again", "--yes")
	if r.stdout != "" || b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'open'`) != 2 {
		t.Fatal("it was done without a confirmation", r.stdout)
	}
	contains(t, b.ok(t, "dlq", "replay", "--error", "refused", "--dry-run"), "ID        CONSUMER", "2 dead letters would be set to be replayed; nothing was changed.")
	dry := decode[ops.DeadLetterPlan](t, b.ok(t, "dlq", "replay", "--all", "--limit", "1", "-n", "--json"))
	if len(dry.DeadLetters) != 1 || numbers(dry.DeadLetters[0].ID) != "8" || dry.Unchanged == nil || dry.Unknown == nil {
		t.Errorf("%+v", dry)
	}
	contains(t, b.ok(t, "dlq", "replay", "--all", "--limit", "1", "-y"), "1 dead letter set to be replayed")
	if got := b.states(t); got != "replay parked replay replayed discarded superseded expired replay open" {
		t.Fatal(got)
	}
	contains(t, b.ok(t, "dlq", "replay", "-c", "mails", "-y"), "1 dead letter set to be replayed")
	contains(t, b.ok(t, "dlq", "replay", "--all"), "No dead letter was changed.")
	for line, want := range map[string]string{
		"deadletter replay --all --json":     `{changed:float64 complete:bool dead_letters:float64 unchanged:[] unknown:[]}`,
		"deadletter discard --all -n --json": `{dead_letters:[{attempts:float64 awaits:null consumer:string error:string event_id:null failed_at:string id:string offset:float64 partition:float64 record_time:string resolved_at:null state:string topic:string}] unchanged:[] unknown:[]}`,
	} {
		if got := shape(decode[any](t, b.ok(t, strings.Fields(line)...))); got != want {
			t.Errorf("%s: %s", line, got)
		}
	}
}

func TestDLQDiscard(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for _, state := range ops.AllStates() {
		letter{state: state}.store(t, b)
	}
	r := b.run(t, "dlq", "discard", nth(1))
	r.want(t, exitUnconfirmed, "1 dead letter (payments: 1) will be discarded", "--yes")
	if r.stdout != "" || strings.Contains(r.stderr, "parked") {
		t.Error(r.stdout, r.stderr)
	}
	dry := b.run(t, "dlq", "discard", nth(1), nth(4), nth(99), "--dry-run")
	dry.want(t, exitNotFound, "there is no dead letter 00000099")
	contains(t, dry.stdout, "Dead letter "+nth(4)+" is left alone", "1 dead letter would be discarded")
	if got := b.states(t); got != "open parked replay replayed discarded superseded expired" {
		t.Fatal(got)
	}
	contains(t, b.ok(t, "dlq", "discard", "--topic", "orders", "--yes"), "3 dead letters discarded.")
	if n := b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'discarded' AND resolved_at IS NOT NULL AND id <= '00000003-ffff-ffff-ffff-ffffffffffff'`); n != 3 {
		t.Errorf("%d are discarded", n)
	}
	if b.one(t, `SELECT count(resolved_at) FROM idem.dead_letters`) != 3 {
		t.Error("others were touched")
	}
}

// Nothing that is named can be changed: that is no success, unless it was done before.
func TestDeadLettersThatAreNamedInVain(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for _, state := range ops.AllStates() {
		letter{state: state}.store(t, b)
	}
	for line, status := range map[string]int{
		"replay 2": exitNotFound, "replay 3": 0, "replay 4": 0, "replay 5": exitNotFound, "replay 6": exitNotFound, "replay 7": exitNotFound,
		"discard 4": exitNotFound, "discard 5": 0, "discard 6": exitNotFound, "replay 5 6": exitNotFound, "replay 5 3": 0, "replay 5 1 -n": 0, "replay 5 -n": exitNotFound,
	} {
		r := b.run(t, append([]string{"dlq"}, chosen(line)...)...)
		if r.want(t, status); status != 0 {
			r.want(t, status, "no dead letter that was named is open", `"idemctl reprocess"`)
		}
	}
}

func TestDiscardTellsWhatItReleases(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
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
		"1":     "2 parked dead letters of the same keys waited for that",
		"1 2":   "1 parked dead letter of the same keys",
		"2":     "",
		"5":     "",
		"5 6":   "1 parked dead letter of the same keys",
		"1 5 6": "3 parked dead letters of the same keys",
		"--all": "",
	} {
		r := b.run(t, append([]string{"dlq", "discard"}, chosen(line)...)...)
		r.want(t, exitUnconfirmed, want)
		if want == "" && strings.Contains(r.stderr, "parked dead letter") {
			t.Errorf("%s: %s", line, r.stderr)
		}
	}
}

// chosen are the arguments of a line in which dead letters have numbers.
func chosen(line string) []string {
	args := strings.Fields(line)
	for i, arg := range args {
		if n, err := strconv.ParseInt(arg, 10, 64); err == nil {
			args[i] = nth(n)
		}
	}

	return args
}

// A parked dead letter says which one has to be decided about, and in which state that is.
func TestParkedDeadLettersSayWhatTheyWaitFor(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	k := []byte("k")
	letter{key: k, state: idem.DeadLetterDiscarded}.store(t, b)        // 1
	letter{key: k}.store(t, b)                                         // 2
	letter{key: []byte("other")}.store(t, b)                           // 3
	letter{key: k, state: idem.DeadLetterParked}.store(t, b)           // 4
	parked := letter{key: k, state: idem.DeadLetterParked}.store(t, b) // 5
	const hint = "    idemctl deadletter list --state open\n"
	list := b.ok(t, "dlq", "list")
	contains(t, list, "parked behind 00000002 (open)", hint)
	if strings.Count(list, "parked behind") != 2 || strings.Contains(b.ok(t, "dlq", "list", "--state", "open"), hint) {
		t.Error(list)
	}
	contains(t, b.ok(t, "dlq", "show", parked), "state        parked\n", "waits for    dead letter "+nth(2)+" (open)\n")
	shown := decode[ops.DeadLetterRecord](t, b.ok(t, "dlq", "show", parked, "--json"))
	if a := shown.Awaits; a == nil || a.ID.String() != nth(2) || a.State != idem.DeadLetterOpen {
		t.Errorf("%+v", a)
	}
	r := b.run(t, "dlq", "replay", parked)
	r.want(t, exitNotFound, "no dead letter that was named is open")
	contains(t, r.stdout, "it is parked, and follows by itself once dead letter "+nth(2)+" (open) is replayed or discarded.")

	b.ok(t, "dlq", "replay", nth(2))
	contains(t, b.ok(t, "dlq", "list", "--state", "parked"), "parked behind 00000002 (replay)")
}

// A dead letter that a consumer is processing is waited for, and left alone once it is processed.
func TestDiscardOfADeadLetterThatIsBeingProcessed(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	letter{state: idem.DeadLetterReplay}.store(t, b)
	letter{}.store(t, b)
	tx := b.hold(t, `UPDATE idem.dead_letters SET state = 'replayed' WHERE id::text LIKE '00000001%'`)
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
	contains(t, r.stdout, "Dead letter "+nth(1)+" is left alone: it is replayed already.", "1 dead letter discarded.")
}

func TestManyDeadLettersGoInParts(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	letter{}.store(t, b)
	b.exec(t, `INSERT INTO idem.dead_letters (id, key, topic_id, record_offset, claim_id, consumer_id, record_partition, attempts, topic, error, header_keys, header_values)
		SELECT gen_random_uuid(), key, topic_id, n, claim_id, consumer_id, record_partition, attempts, topic, error, '{}', '{}' FROM idem.dead_letters, generate_series(100, 2598) n`)
	if r := b.run(t, "dlq", "list"); !strings.Contains(r.stderr, "more than these 100") || strings.Count(r.stdout, "\n") != 101 {
		t.Errorf("%s\n%s", r.stdout, r.stderr)
	}
	got := decode[ops.DeadLetterResult](t, b.ok(t, "dlq", "replay", "--all", "-y", "--json"))
	if got.DeadLetters != 2500 || got.Changed != 2500 || !got.Complete || len(got.Unchanged) != 0 {
		t.Errorf("%+v", got)
	}
	contains(t, b.ok(t, "dlq", "discard", "--all", "-y"), "2,500 dead letters discarded.")
}

package cli

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// hostile is text that would steer a terminal.
const hostile = "evil\x1b]0;title\a \u009b31m \u202e"

// letter is a dead letter to store.
type letter struct {
	consumer string // payments, if empty
	topic    string // orders, if empty
	state    idem.DeadLetterState
	key      []byte
	value    []byte
	event    string
	errText  string
	age      string
}

// nth is the id of the dead letter that a test has stored as the nth.
func nth(n int64) string { return fmt.Sprintf("%08d-0000-7000-8000-000000000000", n) }

// numbers are the dead letters of ids as the test has counted them.
func numbers(ids ...uuid.UUID) string {
	all := make([]string, len(ids))
	for i, id := range ids {
		all[i] = strings.TrimLeft(id.String()[:8], "0")
	}

	return strings.Join(all, " ")
}

// store stores a dead letter of a registered consumer and returns its id.
func (l letter) store(t *testing.T, b *bundle) string {
	t.Helper()
	if l.consumer == "" {
		l.consumer = "payments"
	}
	if l.topic == "" {
		l.topic = "orders"
	}
	if l.state == "" {
		l.state = idem.DeadLetterOpen
	}
	if l.age == "" {
		l.age = "0"
	}

	n := b.one(t, `SELECT count(*) + 1 FROM idem.dead_letters`)
	b.exec(t, `INSERT INTO idem.dead_letters (consumer_id, state, topic, record_partition, record_offset, record_time, failed_at, event_id,
			claim_id, attempts, error, record_key, record_value, header_keys, header_values, id, topic_id, key, key_hash)
		SELECT id, $2, $3, 3, 98 + $10::bigint, 'epoch', now() - $4::text::interval, nullif($5::text, ''), gen_random_uuid(), 5, $6, $7, $8,
			ARRAY['trace', '\x9b1b'::bytea], ARRAY[pg_catalog.convert_to($5, 'UTF8'), NULL], $9, '00000000-0000-0000-0000-000000000000', gen_random_uuid(), pg_catalog.hashtext(pg_catalog.encode($7, 'hex'))
		FROM idem.consumers WHERE name = $1`,
		l.consumer, string(l.state), l.topic, l.age, l.event, l.errText, l.key, l.value, nth(n), n)

	return nth(n)
}

func setupDeadLetters(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	b.register(t, "payments", "7d")
	b.register(t, "mails", "7d")

	return b
}

// listed runs "deadletter list" and returns the ids.
func (b *bundle) listed(t *testing.T, args ...string) string {
	t.Helper()

	var ids []uuid.UUID
	for _, letter := range decode[[]ops.DeadLetter](t, b.ok(t, append([]string{"dlq", "list", "--json"}, args...)...)) {
		ids = append(ids, letter.ID)
	}

	return numbers(ids...)
}

func TestDLQList(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	contains(t, b.ok(t, "dlq", "list"), "No dead letter")
	if out := b.ok(t, "dlq", "list", "--json"); out != "[]\n" {
		t.Error(out)
	}
	letter{event: "e1", errText: "connection refused\nby 10.0.0.1", age: "2 hours"}.store(t, b)        // 1
	letter{state: idem.DeadLetterParked, event: "e2", errText: "parked"}.store(t, b)                   // 2
	letter{state: idem.DeadLetterReplay, topic: "refunds", errText: "100% connection"}.store(t, b)     // 3
	letter{state: idem.DeadLetterReplayed, event: "e1", errText: "x"}.store(t, b)                      // 4
	letter{state: idem.DeadLetterDiscarded, errText: "x"}.store(t, b)                                  // 5
	letter{consumer: "mails", event: hostile, errText: strings.Repeat("x", 100) + hostile}.store(t, b) // 6
	for line, want := range map[string]string{
		"":                             "6 3 2 1",
		"--state unresolved":           "6 3 2 1",
		"--state all":                  "6 5 4 3 2 1",
		"--state open":                 "6 1",
		"-s discarded":                 "5",
		"--state superseded":           "",
		"--consumer payments":          "3 2 1",
		"--topic refunds":              "3",
		"--event-id e1":                "1",
		"--event-id e1 --state all":    "4 1",
		"--error connection":           "3 1",
		"--error %":                    "3",
		"--error Connection":           "",
		"--since 1h":                   "6 3 2",
		"--since 1d":                   "6 3 2 1",
		"--since 2001-02-03":           "6 3 2 1",
		"--since 2001-02-03T04:05:06Z": "6 3 2 1",
		"--since 2201-02-03":           "",
		"--limit 0":                    "6 3 2 1",
		"--limit 4":                    "6 3 2 1",
		"--limit 2147483647":           "6 3 2 1",
	} {
		if got := b.listed(t, strings.Fields(line)...); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
	text := b.ok(t, "dlq", "list")
	contains(t, text, "ID        CONSUMER  TOPIC", "\n00000006  mails", "connection refused; by 10.0.0.1", "xxx…", `"evil\x1b]0;title\a \u009b31m \u202e"`)
	if document := b.ok(t, "dlq", "list", "--json"); strings.ContainsAny(text+document, "\x1b\a\u009b\u202e") {
		t.Errorf("%q %q", text, document)
	}
	r := b.run(t, "dlq", "list", "--limit", "2", "--json")
	r.want(t, 0, "more than these 2")
	if list := decode[[]ops.DeadLetter](t, r.stdout); len(list) != 2 || numbers(list[0].ID) != "6" {
		t.Errorf("%+v", list)
	}
}

func TestDLQWrongFilters(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	id := letter{}.store(t, b)
	for _, c := range []struct {
		want string
		line []string
	}{
		{"one of open, parked, replay, replayed, discarded, superseded, expired, unresolved, all", []string{"list", "--state", "closed"}},
		{"neither an age", []string{"list", "--since", "yesterday"}},
		{"negative", []string{"list", "--limit", "-1"}},
		{"error of the filter is not UTF-8", []string{"list", "--error", "\xff"}},
		{"topic of the filter is not UTF-8", []string{"discard", "--topic", "a\x00b", "-y"}},
		{"one of open, unresolved", []string{"replay", "--state", "parked", "-y"}},
		{"give ids, or filters, or --all", []string{"replay", "-y"}},
		{"give ids, or filters, or --all", []string{"discard", "-y"}},
		{"give ids, or filters, or --all", []string{"discard", "-y", "--limit", "1"}},
		{"not both", []string{"replay", id, "--topic", "orders"}},
		{"not both", []string{"replay", id, "--all"}},
		{"not the id of a dead letter", []string{"replay", "e1"}},
		{"not the id of a dead letter", []string{"discard", "000", "-y"}},
		{"not the id of a dead letter", []string{"show", "\x1b"}},
		{"exclude each other", []string{"show", id, "--raw-value", "--json"}},
		// A variable that is not set must not stand for everything.
		{"--consumer is empty", []string{"discard", "-y", "--consumer", ""}},
		{"--error is empty", []string{"replay", "-y", "--topic", "orders", "--error="}},
		{"--event-id is empty", []string{"list", "--event-id", ""}},
	} {
		b.run(t, append([]string{"dlq"}, c.line...)...).want(t, exitUsage, c.want)
	}
	// $IDEM_CONSUMER narrows the choice, but does not make one.
	b.env["IDEM_CONSUMER"] = "mails"
	b.run(t, "dlq", "discard", "-y").want(t, exitUsage, "--all")
	contains(t, b.ok(t, "dlq", "discard", "--all", "-y"), "No dead letter was changed.")
	b.env["IDEM_CONSUMER"] = "nobody"
	b.run(t, "dlq", "list").want(t, exitNotFound, "nobody is not registered")
	if b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'open'`) != 1 {
		t.Error("the dead letter was changed")
	}
}

func TestDLQShow(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	json := letter{event: hostile, key: []byte("customer 7"), value: []byte("{\"amount\": 10,\n \"to\": \"é\"}"), errText: "charge: gateway:\ntimed out" + hostile}.store(t, b)
	binary := letter{key: []byte("\x9b\xff"), value: []byte("\x00\x01name\xff\x1b[31m")}.store(t, b)
	steering := letter{key: []byte(hostile), value: []byte("line\nstate  " + hostile + "\x00")}.store(t, b)
	null := letter{}.store(t, b)
	empty := letter{key: []byte{}, value: []byte{}}.store(t, b)

	for id, want := range map[string][]string{
		json: {
			"record       partition 3 of orders, offset 99", "attempts     5", "record time  1970-01-01 00:00:00Z", "key          customer 7",
			"error        charge: gateway:\n             timed outevil\\x1b]0;title\\a", `header       trace: "evil\x1b]0;title\a`,
			"header       (2 bytes, not UTF-8) 9b1b: (null)",
			"value        (27 bytes)\n             {\"amount\": 10,\n              \"to\": \"é\"}\n",
		},
		binary:   {"key          (2 bytes, not UTF-8) 9bff", "value        (12 bytes, not UTF-8)\n             00000000  00 01 6e 61 6d 65 ff 1b", "|..name..[31m|", "event id     -"},
		steering: {`key          "evil\x1b]0;title\a`, "control characters escaped)\n             line\n             state  evil\\x1b]0;title\\a", `\x00`},
		null:     {"key          (null)\n", "value        (null)\n"},
		empty:    {"key          \"\"\n", "value        (0 bytes)\n"},
	} {
		text := b.ok(t, "dlq", "show", id)
		if contains(t, text, want...); strings.ContainsAny(text, "\x00\x1b\a\u009b\u202e") || !utf8.ValidString(text) || !strings.HasPrefix(text, "id           "+id+"\n") {
			t.Errorf("%q", text)
		}
	}

	type shown struct{ key, key64, value, value64 string }
	for id, want := range map[string]shown{
		json:     {"customer 7", "null", "{\"amount\": 10,\n \"to\": \"é\"}", "null"},
		binary:   {"null", "m/8=", "null", "AAFuYW1l/xtbMzFt"},
		steering: {hostile, "null", "line\nstate  " + hostile + "\x00", "null"},
		null:     {"null", "null", "null", "null"},
		empty:    {"", "null", "", "null"},
	} {
		document := b.ok(t, "dlq", "show", id, "--json")
		if strings.ContainsAny(document, "\x00\x1b\a\u009b\u202e") {
			t.Errorf("%q", document)
		}
		l := decode[ops.DeadLetterRecord](t, document)
		got := shown{orNull(l.KeyText), orNull(l.KeyBase64), orNull(l.ValueText), orNull(l.ValueBase64)}
		if got != want || l.ID.String() != id || len(l.Headers) != 2 || orNull(l.Headers[1].KeyBase64) != "mxs=" || l.Headers[1].ValueText != nil {
			t.Errorf("%s: %+v", id, l)
		}
	}

	for id, want := range map[string]string{binary: "\x00\x01name\xff\x1b[31m", null: "", empty: ""} {
		if got := b.ok(t, "dlq", "show", id, "--raw-value"); got != want {
			t.Errorf("%s: %q, want %q", id, got, want)
		}
	}
	b.run(t, "dlq", "show", "4711", "--json").want(t, exitNotFound, "there is no dead letter 4711")
	b.run(t, "dlq", "show", "0000").want(t, exitUsage, "0000 is the beginning of several ids", nth(1))
	if got := decode[ops.DeadLetterRecord](t, b.ok(t, "dlq", "show", strings.ToUpper(nth(2)[:8]), "--json")); got.ID.String() != nth(2) {
		t.Error(got.ID)
	}

	// Two arrays of different lengths show what is there.
	b.exec(t, `UPDATE idem.dead_letters SET header_keys = ARRAY['a', 'b'::bytea], header_values = '{}'`)
	contains(t, b.ok(t, "dlq", "show", null), "header       b: (null)")
	b.exec(t, `UPDATE idem.dead_letters SET header_keys = '{}'`)
	contains(t, b.ok(t, "dlq", "show", null, "--json"), `"headers": []`)
}

func orNull(text *string) string {
	if text == nil {
		return "null"
	}

	return *text
}

// states are the states of all dead letters, by id.
func (b *bundle) states(t *testing.T) string {
	t.Helper()
	list := decode[[]ops.DeadLetter](t, b.ok(t, "dlq", "list", "--state", "all", "--json"))
	slices.Reverse(list)
	states := make([]string, len(list))
	for i, l := range list {
		states[i] = string(l.State)
	}

	return strings.Join(states, " ")
}

func TestStatusCountsDeadLetters(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for _, state := range ops.AllStates() {
		letter{state: state}.store(t, b)
	}
	contains(t, b.ok(t, "status"), "dead letters  3 unresolved (1 open)", "DEAD LETTERS")
	s := decode[ops.Status](t, b.ok(t, "status", "--json"))
	if s.OpenDeadLetters != 1 || s.UnresolvedDeadLetters != 3 || s.Consumers[0].UnresolvedDeadLetters != 0 || s.Consumers[1].UnresolvedDeadLetters != 3 || s.Consumers[1].OpenDeadLetters != 1 {
		t.Errorf("%+v", s)
	}
}

// The commands work through transaction poolers too.
func TestDLQInAllModes(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	dsn := b.env["IDEM_DATABASE_URL"]
	for i, mode := range []string{"exec", "simple_protocol", "describe_exec", "cache_describe"} {
		separator := " "
		if strings.Contains(dsn, "://") {
			separator = "&"
		}
		b.env["IDEM_DATABASE_URL"] = fmt.Sprintf("%s%sdefault_query_exec_mode=%s", dsn, separator, mode)
		id := letter{event: "e", key: []byte("k"), value: []byte("\x00\xff"), errText: "it's"}.store(t, b)
		if got := b.listed(t, "-c", "payments", "-t", "orders", "-e", "e", "--error", "it's", "--since", "1h", "-s", "open"); nth(int64(i+1)) != id || got != decimal(int64(i+1)) {
			t.Errorf("%s: %s", mode, got)
		}
		if got := b.ok(t, "dlq", "show", id, "--raw-value"); got != "\x00\xff" {
			t.Errorf("%s: %q", mode, got)
		}
		contains(t, b.ok(t, "dlq", "show", id), "9b1b: (null)")
		contains(t, b.ok(t, "dlq", "replay", id), "1 dead letter set to be replayed")
		contains(t, b.ok(t, "dlq", "discard", id, "-y"), "1 dead letter discarded")
	}
}

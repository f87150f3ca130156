package cli

import (
	"slices"
	"strings"
	"testing"
)

// complete returns what a shell is offered for a line whose last word is being typed. Shells themselves look
// which of it the word begins.
func (b *bundle) complete(t *testing.T, line ...string) []string {
	t.Helper()
	r := b.run(t, append([]string{"__complete"}, line...)...)
	r.want(t, 0)
	offered := strings.Split(strings.TrimSuffix(r.stdout, "\n"), "\n")
	last := len(offered) - 1
	if offered[last] != ":4" || strings.Count(r.stderr, "\n") > 1 { // The directive is not to name files.
		t.Errorf("%v: stdout %q, stderr %q", line, r.stdout, r.stderr)
	}

	return offered[:last]
}

func TestCompletionOfNames(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, name := range []string{"orders", "offers", "bills", "two words"} {
		b.register(t, name, "7d")
	}
	b.exec(t, `INSERT INTO idem.consumers (id, name, retention) VALUES (idem.consumer_id(E'o\nevil'), E'o\nevil', '1 day')`)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition)
		SELECT id, name || '-topic', p FROM idem.consumers, generate_series(0, 1) p WHERE name IN ('orders', 'bills')`)
	consumers := []string{"bills", "offers", "orders", "two words"}
	for line, want := range map[string][]string{
		"show 4711 --consumer o":             consumers,
		"show 4711 -c ":                      consumers,
		"consumer delete ":                   consumers,
		"consumer rename or":                 consumers,
		"consumer rename orders ":            {},
		"checkpoint list --topic ":           {"bills-topic", "orders-topic"},
		"checkpoint list -c orders --topic ": {"orders-topic"},
		"checkpoint list -c nobody --topic ": {},
		"deadletter list --state re":         {"open", "parked", "replay", "replayed", "discarded", "superseded", "expired", "unresolved", "all"},
		"deadletter replay --state re":       {"open", "unresolved", "all"},
		"show ":                              {}, // No names of files.
		"show x --schema nowhere -c ":        {},
	} {
		if got := b.complete(t, strings.Split(line, " ")...); !slices.Equal(got, want) {
			t.Errorf("%q: %q, want %q", line, got, want)
		}
	}
	if got := b.complete(t, "show", "x", "--database-url", "host=/nowhere", "-c", ""); len(got) > 0 {
		t.Errorf("without a server: %q", got)
	}
}

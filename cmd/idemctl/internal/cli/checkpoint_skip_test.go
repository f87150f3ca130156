package cli

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestCheckpointSkip(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.checkpoints(t, "orders", "payments", 1200, 10)
	const untouched = `SELECT count(*) FROM idem.checkpoints WHERE epoch = 7 AND topic_id IS NOT NULL AND starts = 2`

	line := strings.Fields("checkpoint skip -c orders -t payments -p 0 --by alice --reason poison --offset")
	b.run(t, append(line, "1199", "-y")...).want(t, exitFailure, "not the next one", "payments/0 is at 1200")
	b.run(t, append(line, "1201", "-y")...).want(t, exitFailure, "not the next one", "payments/0 is at 1200")
	b.run(t, append(line, "1200")...).want(t, exitUnconfirmed, "orders will never process the record at offset 1200 of partition 0 of payments", "fenced", "--yes")
	if b.one(t, untouched) != 2 || b.one(t, `SELECT count(*) FROM idem.dead_letters`) != 0 {
		t.Fatal("something was skipped without a confirmation")
	}
	got := decode[ops.SkipResult](t, b.ok(t, append(line, "1200", "-y", "--json")...))
	if got.NextOffset != 1201 || got.Offset != 1200 || got.Consumer != "orders" {
		t.Errorf("%+v", got)
	}
	if b.one(t, untouched) != 1 || b.one(t, `SELECT count(*) FROM idem.checkpoints WHERE partition = 0 AND next_offset = 1201 AND epoch = 8 AND owner_token IS NULL AND starts = 0`) != 1 {
		t.Error("another row was changed, or not all of this one")
	}
	contains(t, b.ok(t, "deadletter", "show", got.DeadLetter.String()), "discarded", "skipped by alice (", ": poison", "1200")
	contains(t, b.ok(t, "deadletter", "list", "--state", "discarded"), "skipped by alice (")
	b.run(t, append(line, "1200", "-y")...).want(t, exitFailure, "not the next one", "payments/0 is at 1201")
	contains(t, b.ok(t, "checkpoint", "skip", "-c", "orders", "-t", "payments", "-p", "1", "--offset", "10", "-y"), "offset 10 of partition 1 of payments is skipped")

	// It can be processed after all.
	b.ok(t, "reprocess", "-c", "orders", "-t", "payments", "-p", "0", "--offset", "1200", "-y")
}

func TestCheckpointSkipOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.checkpoints(t, "orders", "payments", 1, 2)
	for line, want := range map[string]string{
		"-c orders -t payments -p 7 --offset 0": "no checkpoint for partition 7 of payments; it has one for: 0, 1",
		"-c orderz -t payments -p 0 --offset 1": "orderz is not registered",
	} {
		b.run(t, append([]string{"checkpoint", "skip", "-y"}, strings.Fields(line)...)...).want(t, exitNotFound, want)
	}
	for line, want := range map[string]string{
		"-t payments -p 0 --offset 1":            "which consumer?",
		"-c orders -p 0 --offset 1":              "which record? the line lacks --topic;",
		"-c orders -t payments --offset 1":       "which record? the line lacks --partition;",
		"-c orders -t payments -p 0":             "which record? the line lacks --offset;",
		"-c orders -t payments":                  "which record? the line lacks --partition, --offset;",
		"-c orders -t payments -p 0 --offset=-1": "negative",
	} {
		b.run(t, append([]string{"checkpoint", "skip", "-y"}, strings.Fields(line)...)...).want(t, exitUsage, want)
	}
}

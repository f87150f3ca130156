package cli

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

// checkpoints makes checkpoints of a registered consumer for the partitions 0, 1, … of a topic.
func (b *bundle) checkpoints(t *testing.T, consumer, topic string, next ...int64) {
	t.Helper()
	for partition, offset := range next {
		b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset, epoch, owner, topic_id, started_offset, starts)
			SELECT id, $2, $3, $4, 7, E'host\x1b[31m/1', gen_random_uuid(), $4, 2 FROM idem.consumers WHERE name = $1`, consumer, topic, partition, offset)
	}
}

func TestCheckpointList(t *testing.T) {
	t.Parallel()
	b := setup(t)
	contains(t, b.ok(t, "checkpoint", "list"), "There is no checkpoint")
	if out := b.ok(t, "checkpoint", "list", "--json"); out != "[]\n" {
		t.Error(out)
	}
	b.register(t, "orders", "7d")
	b.register(t, "mails", "7d")
	b.checkpoints(t, "orders", "payments", 1200, 0)
	b.checkpoints(t, "mails", "evil\x1b[31m", 5)
	text := b.ok(t, "checkpoint", "list")
	contains(t, text, "CONSUMER  TOPIC", `mails     "evil\x1b[31m"`, `"host\x1b[31m/1"`, "1200      7  ")
	if strings.Contains(text, "\x1b") {
		t.Errorf("%q", text)
	}
	list := decode[[]ops.Checkpoint](t, b.ok(t, "checkpoint", "list", "-c", "orders", "--topic", "payments", "--json"))
	if len(list) != 2 || list[0].NextOffset != 1200 || list[0].Epoch != 7 || list[1].Partition != 1 || list[0].TopicID == nil {
		t.Errorf("%+v", list)
	}
	if out := b.ok(t, "checkpoint", "list", "-c", "mails", "-t", "payments", "--json"); out != "[]\n" {
		t.Error(out)
	}
	b.run(t, "checkpoint", "list", "-c", "order").want(t, exitNotFound, "not registered")
}

func TestCheckpointReset(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.register(t, "mails", "7d")
	b.checkpoints(t, "orders", "payments", 1200, 10, 50)
	b.checkpoints(t, "orders", "refunds", 1)
	b.checkpoints(t, "mails", "payments", 1200)
	const untouched = `SELECT count(*) FROM idem.checkpoints WHERE epoch = 7 AND topic_id IS NOT NULL AND starts = 2`

	line := []string{"checkpoint", "reset", "-c", "orders", "-t", "payments", "-p", "0", "--to", "1000"}
	r := b.run(t, line...)
	r.want(t, exitUnconfirmed, "of orders for partition 0 of payments will be set from 1200 to 1000", "1 goes back", "processed again, unless their event ids are known", "fenced", "--yes")
	if strings.Contains(r.stderr, "forward") || b.one(t, untouched) != 5 {
		t.Fatal("it was done without a confirmation", r.stderr)
	}
	text := b.ok(t, append(line, "--yes")...)
	contains(t, text, "1 checkpoint of orders for payments reset.", "PARTITION  BEFORE  AFTER  EPOCH", "        0    1200   1000      8")
	if b.one(t, untouched) != 4 || b.one(t, `SELECT count(*) FROM idem.checkpoints WHERE next_offset = 1000 AND epoch = 8 AND topic_id IS NULL AND starts = 0`) != 1 {
		t.Error("another row was changed, or not all of this one")
	}

	line = []string{"checkpoint", "reset", "-c", "orders", "-t", "payments", "--all-partitions", "--to", "50"}
	b.run(t, line...).want(t, exitUnconfirmed, "3 checkpoints of orders for payments will be set to 50", "1 goes back", "1 goes forward: the records before are never processed")
	got := decode[ops.ResetResult](t, b.ok(t, append(line, "-y", "--json")...))
	if len(got.Partitions) != 3 || got.Partitions[0] != (ops.ResetCheckpoint{Partition: 0, NextOffset: 50, PreviousOffset: 1000, Epoch: 9, PreviousEpoch: 8}) ||
		got.Partitions[1] != (ops.ResetCheckpoint{Partition: 1, NextOffset: 50, PreviousOffset: 10, Epoch: 8, PreviousEpoch: 7}) {
		t.Errorf("%+v", got)
	}
	if b.one(t, untouched) != 2 {
		t.Error("another topic or another consumer was touched")
	}
}

func TestCheckpointResetOfWhatIsNotThere(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.register(t, "orders", "7d")
	b.register(t, "idle", "7d")
	b.checkpoints(t, "orders", "payments", 1, 2)
	for line, want := range map[string]string{
		"-c orders -t payments -p 7 --to 0":             "no checkpoint for partition 7 of payments; it has one for: 0, 1",
		"-c orders -t payment --all-partitions --to 0":  "no checkpoint for the topic payment; it has some for: payments",
		"-c idle -t payments --all-partitions --to 0":   "idle has no checkpoints",
		"-c orderz -t payments --all-partitions --to 0": "orderz is not registered",
	} {
		b.run(t, append([]string{"checkpoint", "reset", "--yes"}, strings.Fields(line)...)...).want(t, exitNotFound, want)
	}
	for line, want := range map[string]string{
		"-t payments -p 0 --to 0":                                                       "which consumer?",
		"-c orders -p 0 --to 0":                                                         "--topic",
		"-c orders -t payments --to 0":                                                  "--partition or --all-partitions",
		"-c orders -t payments -p 0 --all-partitions --to 0":                            "--partition or --all-partitions",
		"-c orders -t payments -p 0":                                                    "--to",
		"-c orders -t payments -p 0 --to 1 --to-time 2026-11-26T10:15:00Z":              "either",
		"-c orders -t payments -p 0 --to-time=":                                         "--to-time is empty",
		"-c orders -t payments -p 0 --to-time yesterday --brokers k:1":                  "--to-time: yesterday is neither an age (36h, 7d) nor a time",
		"-c orders -t payments -p 0 --to-time 2026-11-26T10:15:00Z":                     "needs the brokers",
		"-c orders -t payments -p 0 --to-time 36h":                                      "needs the brokers",
		"-c orders -t payments -p 0 --to-time 2026-11-26T10:15:00Z --brokers https://k": "cannot read the brokers of --brokers",
		"-c orders -t payments -p 0 --to -1":                                            "negative",
		"-c orders -t payments -p=-1 --to 1":                                            "negative",
		"-c orders -t payments --all-partitions --to earliest":                          "earliest",
	} {
		b.run(t, append([]string{"checkpoint", "reset", "--yes"}, strings.Fields(line)...)...).want(t, exitUsage, want)
	}
	if b.one(t, `SELECT sum(epoch)::bigint FROM idem.checkpoints`) != 14 {
		t.Error("something was reset")
	}
}

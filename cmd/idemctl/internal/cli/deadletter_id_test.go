package cli

import (
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// What a list prints of an id is enough to name the dead letter, among those of all consumers.
func TestListedBeginningsOfIDsNameOneDeadLetter(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for i, id := range []string{
		"0199c2a4-1111-7000-8000-000000000000", "0199c2a4-1111-7000-8000-00000000000f", "0199c2a4-1112-7000-8000-000000000000",
		"0199c2a5-0000-7000-8000-000000000000",
	} {
		guard := b.guard(t, []string{"payments", "mails"}[i%2])
		_, err := guard.Unfenced(idem.Partition{Topic: "orders"}).StoreDeadLetter(t.Context(), idem.DeadLetter{ID: uuid.MustParse(id), Offset: int64(i), Error: "refused"})
		if err != nil {
			t.Fatal(err)
		}
	}
	var listed []string
	for _, line := range strings.Split(strings.TrimSpace(b.ok(t, "dlq", "list")), "\n")[1:] {
		listed = append(listed, strings.Fields(line)[0])
	}
	if got := strings.Join(listed, " "); got != "0199c2a5 0199c2a4-1112 0199c2a4-1111-7000-8000-00000000000f 0199c2a4-1111-7000-8000-000000000000" {
		t.Fatal(got)
	}
	for _, short := range listed {
		if got := decode[ops.DeadLetterRecord](t, b.ok(t, "dlq", "show", short, "--json")); !strings.HasPrefix(got.ID.String(), short) {
			t.Errorf("%s shows %v", short, got.ID)
		}
	}
	b.run(t, "dlq", "discard", "0199c2a4", "-y").want(t, exitUsage, "0199c2a4 is the beginning of several ids, of 0199c2a4-1111-7000-8000-000000000000 and")
	b.run(t, "dlq", "discard", "0199c2a411111", "-y").want(t, exitNotFound, "there is no dead letter 0199c2a411111")
	if b.one(t, `SELECT count(*) FROM idem.dead_letters WHERE state = 'open'`) != 4 {
		t.Error("a dead letter was changed")
	}
}

// One row with times that are none does not hide the others.
func TestListWithTimesThatAreNone(t *testing.T) {
	t.Parallel()
	b := setupDeadLetters(t)
	for _, at := range []string{"infinity", "-infinity", "20000-01-01", "0044-03-15 BC"} {
		letter{errText: at}.store(t, b)
		b.exec(t, `UPDATE idem.dead_letters SET failed_at = $1::text::timestamptz, record_time = $1::text::timestamptz, resolved_at = $1::text::timestamptz WHERE error = $1`, at)
	}
	letter{errText: "finite"}.store(t, b)
	if got := b.listed(t); got != "5 4 3 2 1" {
		t.Errorf("listed: %s", got)
	}
	contains(t, b.ok(t, "dlq", "list"), "finite", "infinity")
	for n := range int64(4) {
		contains(t, b.ok(t, "dlq", "show", nth(n+1)), "failed    -")
		if got := decode[ops.DeadLetterRecord](t, b.ok(t, "dlq", "show", nth(n+1), "--json")); got.FailedAt != nil || got.RecordTime != nil {
			t.Errorf("%v %v", got.FailedAt, got.RecordTime)
		}
	}
	b.ok(t, "dlq", "replay", "--all", "-y")
	guard := b.guard(t, "payments")
	if l, err := guard.Unfenced(idem.Partition{Topic: "orders", Number: 3}).NextDeadLetter(t.Context()); err != nil || l.ID.String() != nth(1) {
		t.Errorf("%v, %v", l.ID, err)
	}
}

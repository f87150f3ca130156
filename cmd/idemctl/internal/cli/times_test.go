package cli

import (
	"strings"
	"testing"
)

// One row with a time that Go or JSON cannot hold used to hide all others.
func TestStrangeTimesHideNothing(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.fill(t, "orders", 3)
	for _, strange := range []string{"infinity", "-infinity", "20000-01-01", "4000-01-01 BC"} {
		b.exec(t, `UPDATE idem.dead_letters SET failed_at = $1::text::timestamptz, record_time = $1::text::timestamptz WHERE record_offset = 1`, strange)
		b.exec(t, `UPDATE idem.dead_letters SET resolved_at = $1::text::timestamptz WHERE record_offset = 7`, strange)
		b.exec(t, `UPDATE idem.processed_events SET processed_at = $1::text::timestamptz WHERE event_id = 'e1'`, strange)
		b.exec(t, `UPDATE idem.checkpoints SET acquired_at = $1::text::timestamptz WHERE partition = 1`, strange)
		b.exec(t, `UPDATE idem.consumers SET created_at = $1::text::timestamptz, paused_at = $1::text::timestamptz, paused_by = 'alice', pause_reason = ''`, strange)
		for _, line := range []string{"deadletter list", "checkpoint list", "consumer list", "status", "show e1"} {
			for _, form := range []string{"", " --json"} {
				if r := b.run(t, strings.Fields(line+form)...); r.status != 0 {
					t.Errorf("%s with %s: %+v", line+form, strange, r)
				}
			}
		}
	}
}

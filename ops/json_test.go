package ops_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/ops"
)

// Programs read the results as JSON: names and order of the fields stay what they are, and lists that are
// empty are no null in what the calls return.
func TestResultsKeepTheirJSON(t *testing.T) {
	t.Parallel()
	for want, result := range map[string]any{
		`{"consumer":"","retention_seconds":0,"created_at":T,"group":null,"cluster":null,"closed":null,"pause":null}`:              ops.Consumer{},
		`{"consumer":"","changed":false,"pause":{"at":T,"by":"","reason":""},"group":null}`:                                        ops.PauseResult{Pause: &ops.Pause{}},
		`{"consumer":"","retention_seconds":0}`:                                                                                    ops.RegisterResult{},
		`{"consumer":"","retention_seconds":0,"previous_retention_seconds":0,"newly_expired":0}`:                                   ops.RetentionPlan{},
		`{"consumer":"","group":null,"cluster":null,"previous_group":null,"previous_cluster":null}`:                                ops.RebindPlan{},
		`{"consumer":"","previous_name":"","events":0,"checkpoints":0,"dead_letters":0,"leases":0,"complete":false}`:               ops.RenameResult{},
		`{"consumer":"","events":0,"checkpoints":0,"dead_letters":0,"unresolved_dead_letters":0,"leases":0}`:                       ops.DeletePlan{},
		`{"consumer":"","events":0,"checkpoints":0,"dead_letters":0,"leases":0,"complete":false}`:                                  ops.DeleteResult{},
		`{"dead_letters":null,"unchanged":null,"unknown":null}`:                                                                    ops.DeadLetterPlan{},
		`{"dead_letters":0,"changed":0,"unchanged":null,"unknown":null,"complete":false}`:                                          ops.DeadLetterResult{},
		`{"consumer":"","topic":"","partition":0,"next_offset":0,"epoch":0,"acquired_at":T,"owner":null,"topic_id":null}`:          ops.Checkpoint{},
		`{"consumer":"","topic":"","partition":null,"next_offset":0,"checkpoints":null}`:                                           ops.ResetPlan{},
		`{"partition":0,"next_offset":0,"previous_next_offset":0,"epoch":0,"previous_epoch":0}`:                                    ops.ResetCheckpoint{},
		`{"consumer":"","topic":"","partition":0,"offset":0,"next_offset":0,"dead_letter":"00000000-0000-0000-0000-000000000000"}`: ops.SkipResult{},
		`{"consumer":"","topic":"","partitions":null}`:                                                                             ops.ResetResult{},
		`{"consumer":"","topic":"","partition":0,"offset":0,"dead_letter":"00000000-0000-0000-0000-000000000000"}`:                 ops.ReprocessResult{},
		`{"consumer":"","events":0,"marked":0,"already_processed":0,"complete":false}`:                                             ops.MarkResult{},
		`{"consumer":"","events":0,"forgotten":0,"unknown":0,"complete":false}`:                                                    ops.ForgetResult{},
		`{"deleted":0,"consumers":null,"dead_letters":0,"leases":0,"batches":0,"elapsed_seconds":0,"complete":false}`:              ops.CleanupResult{},
		`{"consumer":"","event_id":"","state":"","attempts":0,"unknown":0,"first_at":T,"until":T,"error":"","decision":{"at":T,"by":"","reason":""},` +
			`"steps":[{"name":"","stored_at":T,"content_type":"","body_text":null,"body_base64":null}]}`: ops.LeaseDetails{Lease: ops.Lease{Decision: &ops.Decision{}}, Steps: make([]ops.LeaseStep, 1)},
		`{"consumer":"","event_id":"","took_effect":false,"by":"","reason":""}`:                                                                 ops.LeaseDecided{},
		`{"id":0,"topic":"","event_id":"","state":"","error":"","published_at":T,"key_text":null,"key_base64":null,"value_bytes":0,"parked":0}`: ops.OutboxRecord{},
		`{"changed":null,"unchanged":null}`:                                                              ops.OutboxResult{},
		`{"name":"","outside_transaction":false,"sql":""}`:                                               ops.Script{},
		`{"verdict":"","schema":"","checked_at":T,"findings":null}`:                                      ops.Diagnosis{},
		`{"id":"","severity":"","subject":"","seen":"","why":"","next":"","commands":null,"runbook":""}`: ops.Finding{},
		`{"expired":0,"consumers":null,"dead_letters":0,"leases":0}`:                                     ops.CleanupPlan{},
		`{"schema":"","from_version":0,"to_version":0,"reverts":null,"loses":null}`:                      ops.MigrationPlan{},
		`{"schema":"","schema_created":false,"version":0,"applied":null,"reverted":null}`:                ops.MigrateResult{},
		`{"schema_state":"","migrator":"","schema":"","version":0,"latest_version":0,"migrations":null}`: ops.Migrations{},
		`{"consumer":"","events":0,"expired":0,"oldest":null,"newest":null,"retention_seconds":0,"created_at":T,"pause":null,` +
			`"open_dead_letters":0,"unresolved_dead_letters":0,"undecided_leases":0}`: ops.ConsumerStatus{},
		`{"consumer":"","table":"","counted":0,"rows":0,"imported":0,"already_processed":0,"expired":0,` +
			`"refused":{"empty":0,"too_long":0,"undated":0},"complete":false}`: ops.ImportResult{},
		`{"consumer":"","event_id":"","key":"00000000-0000-0000-0000-000000000000","claim_id":"00000000-0000-0000-0000-000000000000",` +
			`"processed_at":T,"expires_at":T,"fingerprint":null,"metadata":null}`: ops.Event{},
		`{"event_id":"","key":"00000000-0000-0000-0000-000000000000","told_at":T,"entries":[{"at":T,"consumer":"","kind":"","text":"","dead_letter":null}],` +
			`"events":null,"dead_letters":null,"leases":null,"results":null,"outbox":null}`: ops.Story{Entries: make([]ops.Entry, 1)},
		`{"id":"00000000-0000-0000-0000-000000000000","consumer":"","topic":"","partition":0,"offset":0,"record_time":null,"state":"","attempts":0,` +
			`"failed_at":null,"resolved_at":null,"event_id":null,"error":"","awaits":null,"claim_id":null,"key_text":null,"key_base64":null,` +
			`"headers":[{"key_text":null,"key_base64":null,"value_text":null,"value_base64":null}],"value_text":null,"value_base64":null}`: ops.DeadLetterRecord{Headers: make([]ops.DeadLetterHeader, 1)},
		`{"live_rows":0,"dead_rows":0,"last_vacuum":null,"last_autovacuum":null,"bytes_per_event":0,"packed_bytes_per_event":0,"unused_bytes":0,` +
			`"schema_state":"","migrator":"","schema":"","migration_version":0,"estimated":false,"table_bytes":0,"index_bytes":0,"events":0,"expired":0,` +
			`"open_dead_letters":0,"unresolved_dead_letters":0,"undecided_leases":0,"outbox":{"waiting":0,"oldest":null,"failed":0,"parked":0},"consumers":null,"advice":null}`: ops.Status{},
	} {
		got, err := json.Marshal(result)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.ReplaceAll(string(got), `"0001-01-01T00:00:00Z"`, "T"); got != want {
			t.Errorf("%T:\n got %s\nwant %s", result, got, want)
		}
	}
	if got, err := json.Marshal(ops.Seconds(36*time.Hour + 500*time.Millisecond)); string(got) != "129600.5" || err != nil {
		t.Errorf("%s, %v", got, err)
	}
}

// What a console has sent out as JSON, and gets back, is still a plan.
func TestPlansSurviveJSON(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.store(t, 1)
	plan, err := b.client.PlanDiscard(t.Context(), ops.DeadLetterChoice{All: true})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(plan)
	if err != nil {
		t.Fatal(err)
	}
	var again ops.DeadLetterPlan
	if err := json.Unmarshal(text, &again); err != nil {
		t.Fatal(err)
	}
	if done, err := b.client.DiscardDeadLetters(t.Context(), again, nil); err != nil || done.Changed != 1 {
		t.Errorf("%+v, %v", done, err)
	}
}

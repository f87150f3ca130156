package idem_test

import (
	"reflect"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// Which call takes which option is up to the compiler.
func TestOptionsAreTypedByTheCallsThatTakeThem(t *testing.T) {
	t.Parallel()
	takes := map[string]reflect.Type{}
	for _, of := range []reflect.Type{reflect.TypeFor[*idem.Guard](), reflect.TypeFor[*idem.Owner]()} {
		for i := range of.NumMethod() {
			if m := of.Method(i); m.Type.IsVariadic() {
				takes[of.Elem().Name()+"."+m.Name] = m.Type.In(m.Type.NumIn() - 1).Elem()
			}
		}
	}
	metadata, fingerprint := reflect.TypeOf(idem.WithMetadata(idem.Metadata{})), reflect.TypeOf(idem.WithFingerprint(1))
	isolation, retry := reflect.TypeOf(idem.WithIsolation(pgx.Serializable)), reflect.TypeOf(idem.WithRetry(idem.RetryPolicy{}))
	duration, duplicate := reflect.TypeOf(idem.WithHandlerDuration()), reflect.TypeOf(idem.WithDuplicate(new(idem.DuplicateKind)))
	for call, wanted := range map[string]map[reflect.Type]bool{
		"Guard.ProcessIfNew":    {metadata: true, fingerprint: true, isolation: true, retry: true, duration: true, duplicate: true},
		"Guard.ExecIfNew":       {metadata: true, fingerprint: true, isolation: true, retry: true, duration: false, duplicate: false},
		"Guard.ClaimTx":         {metadata: true, fingerprint: true, isolation: false, retry: false, duration: false, duplicate: false},
		"Guard.MarkProcessed":   {metadata: true, fingerprint: true, isolation: false, retry: false, duration: false, duplicate: false},
		"Guard.ProcessBatch":    {metadata: false, fingerprint: false, isolation: true, retry: true, duration: false, duplicate: false},
		"Owner.Process":         {metadata: false, fingerprint: false, isolation: true, retry: true, duration: true, duplicate: true},
		"Owner.ProcessBatch":    {metadata: false, fingerprint: false, isolation: true, retry: true, duration: false, duplicate: false},
		"Owner.StoreDeadLetter": {metadata: false, fingerprint: false, isolation: true, retry: true, duration: false, duplicate: false},
		"Owner.Replay":          {metadata: true, fingerprint: true, isolation: true, retry: true, duration: true, duplicate: true},
	} {
		for option, is := range wanted {
			if got := option.AssignableTo(takes[call]); got != is {
				t.Errorf("%s takes %v: %v, want %v", call, option, got, is)
			}
		}
		delete(takes, call)
	}
	for _, call := range []string{"Guard.Forget", "Guard.InsertStarts", "Guard.Starts"} { // What they take is no option.
		delete(takes, call)
	}
	if len(takes) != 0 {
		t.Errorf("not tested: %v", takes)
	}
}

package idemotel_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// counted are the counters that are not zero, without the group.
func (b bench) counted(t *testing.T) string {
	t.Helper()
	var lines strings.Builder
	group := strings.NewReplacer("{messaging.consumer.group.name=billing,", "{", ",messaging.consumer.group.name=billing", "", "messaging.consumer.group.name=billing", "")
	for line := range strings.Lines(group.Replace(b.sums(t))) {
		if !strings.HasSuffix(line, " 0\n") {
			lines.WriteString(line)
		}
	}

	return lines.String()
}

func TestLeaseHooks(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	hooks := b.LeaseHooks(lease.Hooks{})
	op := lease.Op{Consumer: "payments", EventID: "event-1"}
	for _, end := range []lease.AcquireEnd{
		{Attempts: 1}, {Outcome: lease.AlreadyProcessed}, {Err: &lease.InProgressError{}}, {Err: &lease.UndecidedError{Err: context.DeadlineExceeded}}, {Err: errors.New("no")},
	} {
		around(t.Context(), hooks.Acquire, op, end, nil)
	}
	if series := strings.Count(b.sums(t), "idem.lease."); series != 9 {
		t.Errorf("%d counters have begun, want all 9", series)
	}
	op.Attempt = 2
	for _, err := range []error{nil, lease.Unknown(errors.New("no answer")), &lease.LostError{Reason: context.DeadlineExceeded}, errors.New("refused")} {
		around(t.Context(), hooks.Run, op, lease.RunEnd{Err: err}, func(ctx context.Context) {
			op := op
			op.Step = "charge"
			around(ctx, hooks.Step, op, lease.StepEnd{Stored: true}, nil)
		})
	}
	want := `idem.lease.attempts{idem.consumer=payments,idem.outcome=failed} 1
idem.lease.attempts{idem.consumer=payments,idem.outcome=lost} 1
idem.lease.attempts{idem.consumer=payments,idem.outcome=returned} 1
idem.lease.attempts{idem.consumer=payments,idem.outcome=unknown} 1
idem.lease.lookups{idem.consumer=payments,idem.outcome=acquired} 1
idem.lease.lookups{idem.consumer=payments,idem.outcome=already_processed} 1
idem.lease.lookups{idem.consumer=payments,idem.outcome=failed} 1
idem.lease.lookups{idem.consumer=payments,idem.outcome=in_progress} 1
idem.lease.lookups{idem.consumer=payments,idem.outcome=undecided} 1
`
	if got := b.counted(t); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	ended := b.spans.Ended()
	said := func(i int, key attribute.Key) string {
		attributes := attribute.NewSet(ended[i].Attributes()...)
		value, _ := attributes.Value(key)

		return value.String()
	}
	if undecided := 3; ended[undecided].Name() != "acquire payments" || said(undecided, "error.type") != "undecided" || said(undecided, "idem.event.id") != "event-1" {
		t.Errorf("%s: %v", ended[undecided].Name(), ended[undecided].Attributes())
	}
	if lost := 10; ended[lost].Name() != "effect payments" || said(lost, "error.type") != "lease_lost" || said(lost, "idem.attempt") != "2" || ended[lost].Status().Code != codes.Error {
		t.Errorf("%s: %v", ended[lost].Name(), ended[lost].Attributes())
	}
	if step := 9; ended[step].Name() != "step charge" || ended[step].Parent().SpanID() != ended[step+1].SpanContext().SpanID() || said(step, "idem.step.stored") != "true" {
		t.Errorf("%s is below %v: %v", ended[step].Name(), ended[step].Parent(), ended[step].Attributes())
	}
}

// refusing is what Kafka says to a record that is too large.
var refusing = errors.Join(outbox.ErrRefused, errors.New("too large"))

// published is a record that was published in a trace of its own.
func published(n int64, topic string) outbox.Record {
	return outbox.Record{Topic: topic, Headers: sent(n).Headers}
}

func TestOutboxHooks(t *testing.T) {
	t.Parallel()
	b := setup(t, nil)
	running, _ := b.tracer.Start(t.Context(), "run")
	hooks := b.OutboxHooks(outbox.Hooks{})
	if series := strings.Count(b.sums(t), "idem.outbox.records"); series != 4 {
		t.Errorf("%d counters have begun, want all 4", series)
	}
	around(running, hooks.Turn, outbox.TurnBegin{}, outbox.TurnEnd{}, nil)
	if n := len(b.spans.Ended()); n != 0 {
		t.Errorf("%d spans of a turn that had nothing to do", n)
	}
	produce := func(ctx context.Context, errs []error, records ...outbox.Record) {
		around(ctx, hooks.Produce, outbox.ProduceBegin{Records: records}, outbox.ProduceEnd{Errs: errs}, func(ctx context.Context) {
			if !trace.SpanFromContext(ctx).IsRecording() {
				t.Error("the Producer's context has no span")
			}
		})
	}
	turn := outbox.TurnEnd{Delivered: 3, Failed: 1, Parked: 2, Waiting: 4, Oldest: time.Second}
	around(running, hooks.Turn, outbox.TurnBegin{}, turn, func(ctx context.Context) {
		produce(ctx, []error{nil, nil, refusing, nil}, published(1, "mails"), published(2, "mails"), published(3, "mails"), published(4, "bills"))
		produce(ctx, nil, published(5, "mails"))
	})
	turn.Err = errors.New("no COMMIT")
	around(running, hooks.Turn, outbox.TurnBegin{}, turn, nil)
	want := `idem.outbox.records{idem.outcome=delivered} 3
idem.outbox.records{idem.outcome=failed} 1
idem.outbox.records{idem.outcome=parked} 2
idem.outbox.records{idem.outcome=waiting} 4
idem.outbox.turns{error.type=_OTHER} 1
idem.outbox.turns{} 2
messaging.client.sent.messages{error.type=refused,messaging.destination.name=mails,messaging.operation.name=send,messaging.operation.type=send,messaging.system=kafka} 1
messaging.client.sent.messages{messaging.destination.name=bills,messaging.operation.name=send,messaging.operation.type=send,messaging.system=kafka} 1
messaging.client.sent.messages{messaging.destination.name=mails,messaging.operation.name=send,messaging.operation.type=send,messaging.system=kafka} 3
`
	if got := b.counted(t); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	ended := b.spans.Ended()
	if len(ended) != 4 {
		t.Fatalf("%d spans, want 4", len(ended))
	}
	several, one, relay, failing := ended[0], ended[1], ended[2], ended[3]
	if relay.Name() != "relay" || relay.Parent().IsValid() || relay.StartTime().After(several.StartTime()) {
		t.Errorf("%s is below %v", relay.Name(), relay.Parent())
	}
	if several.Name() != "send" || one.Name() != "send mails" || one.SpanKind() != trace.SpanKindClient || one.Parent().SpanID() != relay.SpanContext().SpanID() {
		t.Errorf("%s, %s of kind %v below %v", several.Name(), one.Name(), one.SpanKind(), one.Parent())
	}
	if several.Status().Code != codes.Error || one.Status().Code == codes.Error || failing.Status().Code != codes.Error {
		t.Errorf("%v, %v, %v", several.Status(), one.Status(), failing.Status())
	}
	if len(several.Links()) != 4 || several.Links()[3].SpanContext.SpanID().String() != "0000000000000005" {
		t.Errorf("%v", several.Links())
	}
}

// What a service's own hooks return reaches its Ends, within the spans of these.
func TestOutboxHooksNest(t *testing.T) {
	t.Parallel()
	type key struct{}
	b := setup(t, nil)
	var ended any
	hooks := b.OutboxHooks(outbox.Hooks{Produce: idem.Hook[outbox.ProduceBegin, outbox.ProduceEnd]{
		Begin: func(ctx context.Context, _ outbox.ProduceBegin) context.Context {
			return context.WithValue(ctx, key{}, "mine")
		},
		End: func(ctx context.Context, _ outbox.ProduceBegin, _ outbox.ProduceEnd) { ended = ctx.Value(key{}) },
	}})
	around(t.Context(), hooks.Produce, outbox.ProduceBegin{Records: []outbox.Record{published(1, "mails")}}, outbox.ProduceEnd{}, nil) // Without a turn's hook.
	if span := b.last(t); ended != "mine" || span.Name() != "send mails" {
		t.Errorf("%v within %s", ended, span.Name())
	}
}

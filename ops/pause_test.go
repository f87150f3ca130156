package ops_test

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/ops"
)

func TestPause(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.client = b.ownerClient(t)
	role := b.one(t, `SELECT session_user::text`)
	first, err := b.client.Pause(t.Context(), "orders", ops.PauseRequest{By: "alice", Reason: "deploy"})
	if err != nil || !first.Changed || first.Pause == nil || first.Pause.At.IsZero() || first.Pause.Reason != "deploy" ||
		!strings.HasPrefix(first.Pause.By, "alice ("+role+"@") || !strings.HasSuffix(first.Pause.By, ")") {
		t.Fatalf("%+v %+v, %v", first, first.Pause, err)
	}
	second, err := b.client.Pause(t.Context(), "orders", ops.PauseRequest{By: "bob"})
	if err != nil || second.Changed || *second.Pause != *first.Pause {
		t.Errorf("again: %+v %+v, %v", second, second.Pause, err)
	}
	consumer, err := b.client.Consumer(t.Context(), "orders")
	if err != nil || *consumer.Pause != *first.Pause {
		t.Errorf("it is %+v, %v", consumer, err)
	}
	status, err := b.client.Status(t.Context())
	if err != nil || *status.Consumers[0].Pause != *first.Pause || !strings.Contains(strings.Join(status.Advice, "\n"), `: deploy. "idemctl consumer resume orders"`) {
		t.Errorf("status: %+v, %v", status, err)
	}

	if r, err := b.client.Resume(t.Context(), "orders"); err != nil || !r.Changed || *r.Pause != *first.Pause {
		t.Errorf("resume: %+v, %v", r, err)
	}
	if r, err := b.client.Resume(t.Context(), "orders"); err != nil || r.Changed || r.Pause != nil {
		t.Errorf("resume again: %+v, %v", r, err)
	}
	if r, err := b.client.Pause(t.Context(), "orders", ops.PauseRequest{}); err != nil || !r.Changed || !strings.HasPrefix(r.Pause.By, role+"@") || r.Pause.Reason != "" {
		t.Errorf("without words: %+v %+v, %v", r, r.Pause, err)
	}
}

func TestPauseIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for text, request := range map[string]ops.PauseRequest{
		"(--by) has 1001 bytes; 1000 are possible":             {By: strings.Repeat("x", 1001)},
		"(--reason) has 1002 bytes; 1000 are possible":         {Reason: strings.Repeat("é", 501)},
		"(--by) is not UTF-8 without NUL bytes":                {By: "\x00"},
		"the reason (--reason) is not UTF-8 without NUL bytes": {By: "alice", Reason: "\xff"},
	} {
		_, err := b.client.Pause(t.Context(), "orders", request)
		if wantErr(t, text, err, ops.ErrInvalid); err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("the text lacks %q: %v", text, err)
		}
	}
	_, err := b.client.Pause(t.Context(), "order", ops.PauseRequest{})
	wantErr(t, "an unknown consumer", err, ops.ErrUnknownConsumer)
	_, err = b.client.Resume(t.Context(), "order")
	wantErr(t, "an unknown consumer", err, ops.ErrUnknownConsumer)
}

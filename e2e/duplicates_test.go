package e2e_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/idem"
)

// duplicates counts what the hooks say of duplicates.
type duplicates struct {
	mu    sync.Mutex
	kinds idem.DuplicateCounts
	total int // of those that are taken for duplicates
}

func (d *duplicates) config(c *settings) {
	c.Hooks.Process.End = func(_ context.Context, _ consume.ProcessBegin, end consume.ProcessEnd) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.total += end.Duplicates
		for kind, n := range end.DuplicateKinds {
			d.kinds[kind] += n
		}
	}
}

func (d *duplicates) counts() idem.DuplicateCounts {
	d.mu.Lock()
	defer d.mu.Unlock()

	return d.kinds
}

// want waits for as many duplicates, of which there may be one or another number of each kind.
func (d *duplicates) want(t *testing.T, either ...map[idem.DuplicateKind]int) {
	t.Helper()
	wanted := make([]idem.DuplicateCounts, len(either))
	sum := 0
	for i, want := range either {
		sum = 0
		for kind, n := range want {
			wanted[i][kind] = n
			sum += n
		}
	}
	until(t, fmt.Sprint(sum, " duplicates"), func() bool {
		got := 0
		for _, n := range d.counts() {
			got += n
		}

		return got >= sum
	})
	if got := d.counts(); !slices.Contains(wanted, got) || d.total != sum-got[idem.DuplicateCollision] {
		t.Errorf("duplicates by kind %v, %d in all; want %v", got, d.total, wanted)
	}
}

// One record is produced again, one comes with the id of another, and in the end an operator has all of them
// read again.
func TestKindsOfDuplicates(t *testing.T) {
	t.Parallel()
	records := events(0, 30, 1)
	late := []kafka.Message{records[7], {Key: records[3].Key, Headers: records[3].Headers, Value: []byte(`{"other":true}`)}}
	for name, form := range forms() {
		if name == "checkpoint alone" {
			continue
		}
		for _, places := range []bool{true, false} {
			t.Run(fmt.Sprint(name, " places ", places), func(t *testing.T) {
				t.Parallel()
				s := setup(t, broker.InProcess(t), 1)
				var first, second duplicates
				start := func(d *duplicates) *member {
					return s.start(t, func(c *settings) { form(c); d.config(c); c.StoreMetadata = places })
				}
				s.broker.Write(t, s.topic, records...)
				m := start(&first)
				s.awaitCommitted(t, 30)
				s.broker.Write(t, s.topic, late...)
				s.awaitCommitted(t, 32)
				m.leave(t)
				first.want(t, map[idem.DuplicateKind]int{idem.DuplicateProducedAgain: 1, idem.DuplicateCollision: 1})

				s.reset(t, 0)
				m = start(&second)
				if places {
					second.want(t, map[idem.DuplicateKind]int{idem.DuplicateRedelivered: 30, idem.DuplicateProducedAgain: 1, idem.DuplicateCollision: 1})
				} else {
					second.want(t, map[idem.DuplicateKind]int{idem.DuplicateUnknown: 31, idem.DuplicateCollision: 1},
						// Both records of the id are in one batch.
						map[idem.DuplicateKind]int{idem.DuplicateUnknown: 30, idem.DuplicateProducedAgain: 1, idem.DuplicateCollision: 1})
				}
				m.leave(t)
				s.verifyOnce(t, 30)
			})
		}
	}
}

// A member that the group has given up does not know it, and goes on without checkpoints while another one
// has its partition: what it processes then, the other finds processed by a former owner.
func TestFormerOwnerGoesOn(t *testing.T) {
	kafkaGoOnly(t, "the client ends its session by itself")
	t.Parallel()
	const at = 5 // of ten records: there the former owner waits until it is one
	s := setup(t, broker.InProcess(t), 1)
	s.broker.Write(t, s.topic, events(0, 10, 1)...)
	cut := ""
	s.broker.Fake.ControlKey(int16(kmsg.Heartbeat), func(request kmsg.Request) (kmsg.Response, error, bool) {
		s.broker.Fake.KeepControl()
		beat := request.(*kmsg.HeartbeatRequest) //nolint:forcetypeassert // It is the key's.
		if cut == "" {
			cut = beat.MemberID
		}
		if beat.MemberID != cut {
			return nil, nil, false //nolint:nilnil // The broker is to answer as ever.
		}
		lost := beat.ResponseKind().(*kmsg.HeartbeatResponse) //nolint:forcetypeassert // It is the key's.
		lost.ErrorCode = kerr.CoordinatorNotAvailable.Code

		return lost, nil, true
	})
	reached, taken, processed := make(chan struct{}), make(chan struct{}), make(chan struct{})
	isAt := func(begin consume.ProcessBegin) bool { return begin.Messages.First.Offset == at } // Each is alone.
	alone := func(c *settings) { c.Mode, c.OwnTransactions, c.StoreMetadata = consume.ByEventID, true, true }
	former := s.start(t, func(c *settings) {
		alone(c)
		c.CommitInterval = time.Hour
		c.Hooks.Process = idem.Hook[consume.ProcessBegin, consume.ProcessEnd]{
			Begin: func(ctx context.Context, begin consume.ProcessBegin) context.Context {
				if isAt(begin) {
					close(reached)
					<-taken
				}

				return ctx
			},
			End: func(_ context.Context, begin consume.ProcessBegin, _ consume.ProcessEnd) {
				if isAt(begin) {
					close(processed)
				}
			},
		}
	})
	<-reached
	var d duplicates
	latter := s.start(t, func(c *settings) {
		alone(c)
		d.config(c)
		tell, take := c.Hooks.Process.End, sync.OnceFunc(func() { close(taken) })
		c.Hooks.Process.Begin = func(ctx context.Context, begin consume.ProcessBegin) context.Context {
			if isAt(begin) {
				<-processed
			}

			return ctx
		}
		c.Hooks.Process.End = func(ctx context.Context, begin consume.ProcessBegin, end consume.ProcessEnd) {
			tell(ctx, begin, end)
			take()
		}
	})
	s.awaitCommitted(t, 10)
	latter.leave(t)
	former.leave(t)
	if got := d.counts(); got[idem.DuplicateRedelivered] != at || got[idem.DuplicateFormerOwner] == 0 || got[idem.DuplicateUnknown]+got[idem.DuplicateProducedAgain] > 0 {
		t.Errorf("duplicates by kind %v", got)
	}
	s.verifyOnce(t, 10)
}

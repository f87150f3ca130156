package group

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/segmentio/kafka-go"
)

// both joins again with a and joins with b, and returns their generations.
func both(a *tester, before *Generation, b *tester) (of, other *Generation) {
	joined := make(chan *Generation, 1)
	go func() { joined <- b.join() }()
	of = a.rejoin(before)

	return of, <-joined
}

func TestMembersShareAndTakeOver(t *testing.T) {
	t.Parallel()
	s := setup(t, 5)
	a, b := s.member(t, "", 5), s.member(t, "", 5)
	first := a.join()
	a.wants(first, 0, 1, 2, 3, 4)
	ofA, ofB := both(a, first, b)
	if !errors.Is(first.Err(), ErrRebalance) || ofA.ID != ofB.ID {
		t.Errorf("it ended because of %v; generations %d and %d", first.Err(), ofA.ID, ofB.ID)
	}
	all := slices.Sorted(slices.Values(slices.Concat(ofA.Assignments[s.topic], ofB.Assignments[s.topic])))
	if !slices.Equal(all, []int{0, 1, 2, 3, 4}) || len(ofA.Assignments[s.topic]) < 2 || len(ofB.Assignments[s.topic]) < 2 {
		t.Errorf("%v and %v", ofA.Assignments, ofB.Assignments)
	}
	began := time.Now()
	b.Leave(t.Context())
	a.wants(a.rejoin(ofA), 0, 1, 2, 3, 4)
	if took := time.Since(began); took > session/2 {
		t.Errorf("took over %v after the other had left", took)
	}
}

func TestKilledMemberIsMissedAfterItsSession(t *testing.T) {
	t.Parallel()
	s := setup(t, 2)
	a, b := s.member(t, "", 2), s.member(t, "", 2)
	ofA, _ := both(a, a.join(), b)
	b.die()
	a.wants(a.rejoin(ofA), 0, 1)
}

// Another member is working and does not join yet. This one is told to stop meanwhile.
func TestJoinIsInterrupted(t *testing.T) {
	t.Parallel()
	for name, instance := range map[string]string{"dynamic": "", "static": "one"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := setup(t, 2)
			a, b := s.member(t, "", 2), s.member(t, instance, 2)
			ofA := a.join()
			ctx, cancel := context.WithCancel(t.Context())
			joined := make(chan error, 1)
			go func() {
				_, err := b.Join(ctx, []string{s.topic})
				joined <- err
			}()
			_ = a.awaitEnd(ofA) // So the coordinator waits for a, and b for the coordinator.
			began := time.Now()
			cancel()
			if err := <-joined; !errors.Is(err, context.Canceled) || time.Since(began) > session/4 {
				t.Errorf("Join returned %v, %v after it was interrupted", err, time.Since(began))
			}
			b.awaitDisconnected() // Else the coordinator would read nothing more of the member's.
			b.Leave(t.Context())
			if took := time.Since(began); took > session/2 {
				t.Errorf("it had left after %v", took)
			}
			if instance != "" {
				return // The group waits for it, because it may be back.
			}
			began = time.Now()
			a.wants(a.join(), 0, 1)
			if took := time.Since(began); took > session/2 {
				t.Errorf("the group waited %v for a member that had left", took)
			}
		})
	}
}

// The leader is one that was started again: nobody is interrupted, and it still knows what it had dealt.
func TestStaticMemberIsBackWithoutRebalance(t *testing.T) {
	t.Parallel()
	s := setup(t, 4)
	static, dynamic := s.member(t, "one", 4), s.member(t, "", 4)
	ofStatic, ofDynamic := both(static, static.join(), dynamic)
	static.wants(ofStatic, 0, 1) // Static members come first.
	dynamic.wants(ofDynamic, 2, 3)
	static.Leave(t.Context())

	again := s.member(t, "one", 4)
	g := again.join()
	again.wants(g, 0, 1)
	if g.ID != ofStatic.ID || ofDynamic.Err() != nil {
		t.Errorf("generation %d after %d; the other's has ended: %v", g.ID, ofStatic.ID, ofDynamic.Err())
	}
	if !g.Leader || g.Undealt(map[string]int{s.topic: 4}) || !g.Undealt(map[string]int{s.topic: 5}) {
		t.Errorf("leader %v, knows what was dealt: %v, %v", g.Leader, g.Undealt(map[string]int{s.topic: 4}), g.Undealt(map[string]int{s.topic: 5}))
	}
	if err := ofDynamic.Commit(t.Context(), map[string]map[int]Offset{s.topic: {2: {Next: 1}}}); err != nil {
		t.Error(err)
	}
}

func TestTwoMembersOfOneInstance(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	first, second := s.member(t, "one", 1), s.member(t, "one", 1)
	g := first.join()
	second.join()
	err := first.awaitEnd(g)
	var refused *RefusedError
	if !errors.As(err, &refused) || !errors.Is(err, kafka.FencedInstanceID) || !strings.Contains(err.Error(), "InstanceID") {
		t.Errorf("its generation ended because of %v", err)
	}
	if _, err := first.Join(t.Context(), []string{s.topic}); !errors.Is(err, kafka.FencedInstanceID) {
		t.Errorf("it could join again: %v", err)
	}
}

func TestOffsets(t *testing.T) {
	t.Parallel()
	s := setup(t, 3)
	a := s.member(t, "", 3)
	g := a.join()
	committed, err := g.Committed(t.Context(), map[string]int{s.topic: 3})
	if want := (Offset{Next: -1, LeaderEpoch: -1}); err != nil || committed[s.topic][2] != want {
		t.Errorf("%+v, %v", committed, err)
	}
	want := Offset{Next: 7, LeaderEpoch: 0, Metadata: "idem/1 token=x"}
	if err := g.Commit(t.Context(), map[string]map[int]Offset{s.topic: {1: want}}); err != nil {
		t.Fatal(err)
	}
	committed, err = g.Committed(t.Context(), map[string]int{s.topic: 3})
	if err != nil || committed[s.topic][1] != want || committed[s.topic][0].Next != -1 {
		t.Errorf("%+v, %v", committed, err)
	}

	// A final commit is accepted while the others wait, a late one is refused.
	b := s.member(t, "", 3)
	joined := make(chan *Generation, 1)
	go func() { joined <- b.join() }()
	_ = a.awaitEnd(g)
	if err := g.Commit(t.Context(), map[string]map[int]Offset{s.topic: {1: {Next: 8}}}); err != nil {
		t.Error(err)
	}
	a.join()
	<-joined
	if err := g.Commit(t.Context(), map[string]map[int]Offset{s.topic: {1: {Next: 1}}}); !errors.Is(err, kafka.IllegalGeneration) {
		t.Errorf("a late commit: %v", err)
	}
}

func TestForeignAssignor(t *testing.T) {
	t.Parallel()
	s := setup(t, 1)
	ask := func(id string) *kafka.JoinGroupResponse {
		response, err := s.client.JoinGroup(t.Context(), &kafka.JoinGroupRequest{
			GroupID: s.group, MemberID: id, SessionTimeout: session, RebalanceTimeout: session, ProtocolType: protocolType,
			Protocols: []kafka.GroupProtocol{{Name: "foreign", Metadata: kafka.GroupProtocolSubscription{Topics: []string{s.topic}}}},
		})
		if err != nil {
			t.Fatal(err)
		}

		return response
	}
	ask(ask("").MemberID)
	_, err := s.member(t, "", 1).Join(t.Context(), []string{s.topic})
	if !errors.Is(err, kafka.InconsistentGroupProtocol) || !strings.Contains(err.Error(), "franzadapter") {
		t.Errorf("Join returned %v", err)
	}
}

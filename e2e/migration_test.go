package e2e_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/nova-events/idempotent-consumer/e2e/broker"
	"github.com/nova-events/idempotent-consumer/e2e/foreign"
)

const (
	// sharedSession is the session timeout of all members.
	sharedSession = 45 * time.Second

	// sharedHeartbeat is how soon a member learns of a rebalance.
	sharedHeartbeat = 500 * time.Millisecond

	// maxStandstill is how long a partition may make no progress while members come and go in order. Even
	// on a busy machine a rebalance takes a heartbeat interval, a round of joining and a fetch; but where
	// the group has to wait for a member that does not answer, it waits for the whole session.
	maxStandstill = 30 * time.Second
)

// A group moves from another client to ours, one member after the other; or to another client and back. All
// partitions are consumed meanwhile, and what our members handle takes effect once. Members that offer another
// assignor could not join at all.
func TestRollingMigration(t *testing.T) { //nolint:tparallel // Each client has several processes.
	classicOnly(t) // The test describes groups by the request for classic ones.
	t.Parallel()
	java, assignor, balancer := foreign.JavaRange, "range", kgo.RangeBalancer()
	if isCooperative() {
		java, assignor, balancer = foreign.JavaCooperativeSticky, "cooperative-sticky", kgo.CooperativeStickyBalancer()
	}
	for name, ofClient := range map[string]func(t testing.TB) foreign.Client{ //nolint:paralleltest // Each client has several processes.
		"java":         func(t testing.TB) foreign.Client { return foreign.Java(t, java) },           //nolint:thelper // It is none.
		"java default": func(t testing.TB) foreign.Client { return foreign.Java(t) },                 //nolint:thelper // It is none.
		"librdkafka":   func(t testing.TB) foreign.Client { return foreign.Librdkafka(t, assignor) }, //nolint:thelper // It is none.
		"franz-go":     func(testing.TB) foreign.Client { return foreign.Franz(balancer) },
	} {
		t.Run(name, func(t *testing.T) {
			client := ofClient(t)
			for _, static := range []bool{false, true} {
				to := func(t *testing.T) {
					t.Helper()
					testMigration(t, client, static, (*sharedGroup).startTheirs, (*sharedGroup).startOurs)
				}
				back := func(t *testing.T) {
					t.Helper()
					testMigration(t, client, static, (*sharedGroup).startOurs, (*sharedGroup).startTheirs, (*sharedGroup).startOurs)
				}
				t.Run(fmt.Sprintf("to ours, static %t", static), to)              //nolint:paralleltest // Each has several processes.
				t.Run(fmt.Sprintf("from ours and back, static %t", static), back) //nolint:paralleltest // Each has several processes.
			}
		})
	}
}

// starter starts a member of a group and returns how it leaves.
type starter func(s *sharedGroup, t *testing.T, place int) (leave func(t *testing.T))

// testMigration has the members of one kind replaced by those of the next.
func testMigration(t *testing.T, client foreign.Client, static bool, first starter, next ...starter) {
	t.Helper()
	const partitions, members = 6, 3
	s := &sharedGroup{bench: setup(t, broker.ApacheKafka(t), partitions), client: client, static: static, progress: newProgress(partitions)}
	var leave []func(t *testing.T) // by place
	for place := range members {
		leave = append(leave, first(s, t, place))
	}
	produced := s.produce(t, partitions)
	s.settle(t, "at first", members, produced)
	for round, start := range next {
		for place := range leave {
			when := fmt.Sprintf("round %d, place %d", round+1, place+1)
			if static {
				leave[place](t)
				leave[place] = start(s, t, place)
			} else {
				successor := start(s, t, place)
				s.settle(t, when+" is taken twice", members+1, produced)
				leave[place](t)
				leave[place] = successor
			}
			s.settle(t, when+" is taken over", members, produced)
		}
	}
	counts := produced.end()
	s.await(t, "the end", counts)
	for _, leave := range leave {
		leave(t)
	}
	s.verifyShared(t, counts)
}

// instance is the instance id of a place, if members have one.
func (s *sharedGroup) instance(place int) string {
	if !s.static {
		return ""
	}

	return fmt.Sprintf("place-%d", place)
}

// sharedGroup is a group of ours and of another client's members.
type sharedGroup struct {
	*bench

	client   foreign.Client
	static   bool // Members have instance ids, and one that leaves in order stays a member for its session.
	progress *progress
	heard    heard // what our members say
	theirs   []*foreignMember
}

// foreignMember is one of theirs.
type foreignMember struct {
	foreign.Member

	asked bool // to leave
}

func (s *sharedGroup) startTheirs(t *testing.T, place int) (leave func(t *testing.T)) {
	t.Helper()
	m := &foreignMember{Member: s.client(t, foreign.Config{
		Brokers: s.broker.Addrs, Group: s.group, Topic: s.topic,
		SessionTimeout: sharedSession, HeartbeatInterval: sharedHeartbeat, InstanceID: s.instance(place), Consumed: s.progress.byThem,
	})}
	s.theirs = append(s.theirs, m)

	return func(t *testing.T) {
		t.Helper()
		m.asked = true
		m.Leave(t)
	}
}

func (s *sharedGroup) startOurs(t *testing.T, place int) (leave func(t *testing.T)) {
	t.Helper()
	m := s.start(t, func(c *settings) {
		s.heard.config(c)
		c.SessionTimeout, c.HeartbeatInterval, c.InstanceID = sharedSession, sharedHeartbeat, s.instance(place)
	})

	return m.leave
}

// settle returns once the group is stable with n members that share the partitions, and all of these are
// consumed up to a record that was produced after that. It fails as soon as one stands still for too long.
func (s *sharedGroup) settle(t *testing.T, when string, n int, produced *production) {
	t.Helper()
	s.watch(t, when, func() bool {
		group, err := s.broker.Group(t.Context(), s.group)

		return err == nil && group.State == "Stable" && len(group.Members) == n && !slices.ContainsFunc(group.Members, isIdle)
	})
	next := produced.counts()
	for i := range next {
		next[i]++
	}
	s.await(t, when, next)
}

func isIdle(m broker.GroupMember) bool { return m.Partitions == 0 }

// await returns once all partitions are consumed up to those offsets.
func (s *sharedGroup) await(t *testing.T, when string, next []int64) {
	t.Helper()
	s.watch(t, when, func() bool { return s.progress.reached(next) })
}

// watch polls until happened returns true.
func (s *sharedGroup) watch(t *testing.T, when string, happened func() bool) {
	t.Helper()
	poll := time.NewTicker(20 * time.Millisecond)
	defer poll.Stop()
	for began := time.Now(); !happened(); <-poll.C {
		s.readOurs(t)
		if partition, since := s.progress.standstill(); since > maxStandstill {
			t.Fatalf("%s: partition %d has stood still for %v; %s", when, partition, since.Round(time.Millisecond), s.story(t))
		}
		for _, m := range s.theirs {
			if m.Ended() && !m.asked {
				t.Fatalf("%s: one of theirs has ended; %s", when, s.story(t))
			}
		}
		if time.Since(began) > patience {
			t.Fatalf("%s: the group does not settle; %s", when, s.story(t))
		}
	}
}

// readOurs notes the records that have taken effect.
func (s *sharedGroup) readOurs(t *testing.T) {
	t.Helper()
	rows, err := s.pool.Query(t.Context(), `SELECT "partition", max("offset") FROM public.effects GROUP BY "partition"`)
	if err != nil {
		t.Fatal(err)
	}
	var r position
	_, err = pgx.ForEachRow(rows, []any{&r.partition, &r.offset}, func() error {
		s.progress.advance(r.partition, r.offset)

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// story is what is known of the group and of what its members say.
func (s *sharedGroup) story(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	group, err := s.broker.Group(t.Context(), s.group)
	_, _ = fmt.Fprintf(&text, "the group is %+v (error %v)", group, err)
	const enough = 2000
	for _, m := range s.theirs {
		said := m.Said()
		_, _ = fmt.Fprintf(&text, "\none of theirs said:\n%s", said[:min(len(said), enough)])
	}
	said := s.heard.log.String()
	_, _ = fmt.Fprintf(&text, "\nours said:\n%s", said[max(0, len(said)-enough):])

	return text.String()
}

// verifyShared checks that each record was consumed by the members of one client, and that those that ours
// consumed took effect once. All members commit when they give their partitions back.
func (s *sharedGroup) verifyShared(t *testing.T, counts []int64) {
	t.Helper()
	_, distinct, err := s.effects(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	s.verify(t, distinct)
	rows, err := s.pool.Query(t.Context(), `SELECT "partition", "offset" FROM public.effects`)
	if err != nil {
		t.Fatal(err)
	}
	var r position
	ours := map[position]bool{}
	_, err = pgx.ForEachRow(rows, []any{&r.partition, &r.offset}, func() error {
		ours[r] = true

		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for partition, count := range counts {
		for offset := range count {
			r := position{partition, offset}
			switch theirs := s.progress.theirs[r]; {
			case theirs && ours[r]:
				t.Errorf("offset %d of partition %d was consumed by members of both clients", offset, partition)
			case !theirs && !ours[r]:
				t.Errorf("offset %d of partition %d was consumed by nobody", offset, partition)
			}
		}
	}
	if t.Failed() {
		t.Log(s.story(t))
	}
	t.Logf("%d records took effect, others consumed %d, no partition stood still for longer than %v",
		len(ours), len(s.progress.theirs), s.progress.longest.Round(time.Millisecond))
}

package group

import (
	"context"
	"errors"
	"fmt"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/kafkaadapter/internal/wire"
)

// Offset is how far the group has come in a partition.
type Offset struct {
	Next        int64  // -1: nothing is committed
	LeaderEpoch int32  // of the record before it, or -1
	Metadata    string // what who committed it has to say
}

// errLeftOut says that a coordinator has not answered for all partitions. That must not count as
// "nothing is committed".
var errLeftOut = errors.New("the answer leaves partitions out")

// Commit commits offsets, by topic and partition, once. The coordinator refuses them when others have
// taken over; that ends the generation. It accepts them while a rebalance waits for this member.
func (g *Generation) Commit(ctx context.Context, offsets map[string]map[int]Offset) error {
	missing := make(places)
	for topic, partitions := range offsets {
		for number := range partitions {
			missing.add(topic, number)
		}
	}
	where := ""
	err := g.member.coordinator.do(ctx, request{
		key: protocol.OffsetCommit, oldest: 8, newest: 8, timeout: requestTimeout,
		encode: func(w *wire.Writer, _ int16) {
			g.identify(w)
			w.CompactCount(len(offsets))
			for topic, partitions := range offsets {
				w.CompactString(topic)
				w.CompactCount(len(partitions))
				for number, o := range partitions {
					w.Int32(int32(number)) //nolint:gosec // Kafka's partitions have 32 bits.
					w.Int64(o.Next)
					w.Int32(o.LeaderEpoch)
					w.CompactString(o.Metadata)
					w.NoTags()
				}
				w.NoTags()
			}
			w.NoTags()
		},
		decode: func(a *wire.Answer) (code kafka.Error) {
			a.Int32() // throttle time
			eachPartition(a, func(topic string, number int) {
				if own := kafka.Error(a.Int16()); own != 0 && code == 0 {
					code, where = own, fmt.Sprintf(" of %s/%d", topic, number)
				}
				missing.remove(topic, number)
			})

			return code
		},
	})
	if err == nil && len(missing) > 0 {
		err = errLeftOut
	}
	if err == nil {
		return nil
	}
	if reason := ends(err); reason != nil {
		g.over(reason)
	}

	return fmt.Errorf("commit offsets%s: %w", where, err)
}

// Committed returns what the group has committed, of topics with these numbers of partitions. An
// offset that a transaction is about to commit is waited for, until ctx or the generation ends.
func (g *Generation) Committed(ctx context.Context, counts map[string]int) (map[string][]Offset, error) {
	const doing = "reading the group's offsets"
	for failed := 1; ; failed++ {
		committed, err := g.committed(ctx, counts)
		if !errors.Is(err, kafka.UnstableOffsetCommit) {
			g.member.teller.goesOn(doing)

			return committed, err
		}
		g.member.teller.waits(doing, judge(err).text, err)
		if !backoff.Sleep(ctx, pauses.Pause(failed)) || g.ctx.Err() != nil {
			return nil, err
		}
	}
}

func (g *Generation) committed(ctx context.Context, counts map[string]int) (map[string][]Offset, error) {
	committed, missing := make(map[string][]Offset, len(counts)), make(places)
	for topic, n := range counts {
		committed[topic] = make([]Offset, n)
		for number := range n {
			missing.add(topic, number)
		}
	}
	where := ""
	err := g.member.coordinator.do(ctx, request{
		key: protocol.OffsetFetch, oldest: 7, newest: 7, timeout: requestTimeout,
		encode: func(w *wire.Writer, _ int16) {
			w.CompactString(g.member.config.Group)
			w.CompactCount(len(counts))
			for topic, n := range counts {
				w.CompactString(topic)
				w.CompactCount(n)
				for number := range n {
					w.Int32(int32(number))
				}
				w.NoTags()
			}
			w.Bytes(1) // stable offsets only
			w.NoTags()
		},
		decode: func(a *wire.Answer) (code kafka.Error) {
			a.Int32() // throttle time
			eachPartition(a, func(topic string, number int) {
				o := Offset{max(-1, a.Int64()), a.Int32(), a.CompactString()}
				if own := kafka.Error(a.Int16()); own != 0 && code == 0 {
					code, where = own, fmt.Sprintf(" of %s/%d", topic, number)
				}
				if missing.remove(topic, number) {
					committed[topic][number] = o
				}
			})
			if whole := kafka.Error(a.Int16()); whole != 0 {
				code = whole
			}

			return code
		},
	})
	if err == nil && len(missing) > 0 {
		err = errLeftOut
	}
	if err != nil {
		return nil, fmt.Errorf("read the group's offsets%s: %w", where, err)
	}

	return committed, nil
}

// eachPartition goes through topics and their partitions. read reads what follows a partition's
// number.
func eachPartition(a *wire.Answer, read func(topic string, number int)) {
	const leastTopic, leastPartition = 3, 7
	for range a.CompactCount(leastTopic) {
		topic := a.CompactString()
		for range a.CompactCount(leastPartition) {
			number := int(a.Int32())
			read(topic, number)
			a.Tags()
		}
		a.Tags()
		if a.Bad {
			return
		}
	}
}

// places are partitions, by topic.
type places map[string]map[int]struct{}

func (p places) add(topic string, number int) {
	if p[topic] == nil {
		p[topic] = make(map[int]struct{})
	}
	p[topic][number] = struct{}{}
}

// remove reports whether the partition was there.
func (p places) remove(topic string, number int) bool {
	_, ok := p[topic][number]
	delete(p[topic], number)
	if len(p[topic]) == 0 {
		delete(p, topic)
	}

	return ok
}

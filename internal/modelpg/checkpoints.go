package modelpg

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/schema"
)

// schemaVersion is that of this release.
const schemaVersion = schema.Version

// lanesOf are the keys of a partition's lanes that a transaction sees.
func (s *Server) lanesOf(t *tx, at place) []place {
	return s.checkpoints.where(t, func(key place, _ *checkpoint) bool {
		return key.lane > 0 && key.consumer == at.consumer && key.topic == at.topic && key.partition == at.partition
	}, comparePlaces)
}

func checkpointLock(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	c, err := s.checkpoints.hold(t, place{a.int(1), a.text(2), a.int(3), a.int(4)})
	if c != nil {
		rows = [][]*string{{text(c.next), c.token}}
	}

	return selected(rows, column{"next_offset", oidInt8}, column{"owner_token", oidUUID}), err
}

func checkpointRead(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	keys := s.checkpoints.where(t, func(key place, _ *checkpoint) bool {
		return key.consumer == a.int(1) && key.topic == a.text(2) && key.partition == a.int(3)
	}, comparePlaces)
	for _, key := range keys {
		c := s.checkpoints.read(t, key)
		rows = append(rows, []*string{text(key.lane), text(c.next), c.token})
	}

	return selected(rows, column{"lane", oidInt4}, column{"next_offset", oidInt8}, column{"owner_token", oidUUID}), nil
}

func checkpointReadOwned(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	tokens := a.texts(2)
	keys := s.checkpoints.where(t, func(key place, c *checkpoint) bool {
		return key.consumer == a.int(1) && c.token != nil && slices.Contains(tokens, *c.token)
	}, comparePlaces)
	for _, key := range keys {
		rows = append(rows, []*string{&key.topic, text(key.partition), text(key.lane), text(s.checkpoints.read(t, key).next)})
	}

	return selected(rows, column{"topic", oidText}, column{"partition", oidInt4}, column{"lane", oidInt4}, column{"next_offset", oidInt8}), nil
}

func checkpointInsert(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	inserted, err := s.checkpoints.insert(t, place{a.int(1), a.text(2), a.int(3), 0}, checkpoint{
		topicID: a[3], next: a.int(5), owner: a[5], token: a[6], epoch: 1,
	})
	if inserted {
		t.changed = append(t.changed, &reached{s, place{a.int(1), a.text(2), a.int(3), 0}, a.int(5)})
		rows = [][]*string{{text(1), text(time.Now().UnixMicro())}}
	}

	return selected(rows, column{"epoch", oidInt8}, column{"acquired_micros", oidInt8}), err
}

func checkpointAcquire(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	_, err := update(s.checkpoints, t, []place{{a.int(4), a.text(5), a.int(6), 0}}, always, func(_ place, c *checkpoint) {
		c.token, c.epoch, c.owner, c.topicID = a[0], c.epoch+1, a[1], cmp.Or(c.topicID, a[2])
		rows = append(rows, []*string{text(c.next), c.topicID, intText(c.leaderEpoch), text(c.epoch), text(c.resetEpoch), text(time.Now().UnixMicro())})
	})

	return selected(rows, column{"next_offset", oidInt8}, column{"topic_id", oidUUID}, column{"leader_epoch", oidInt4},
		column{"epoch", oidInt8}, column{"reset_epoch", oidInt8}, column{"acquired_micros", oidInt8}), err
}

func always(place, *checkpoint) bool { return true }

func checkpointEndLanes(s *Server, t *tx, a args) (result, error) {
	n, err := update(s.checkpoints, t, s.lanesOf(t, place{a.int(1), a.text(2), a.int(3), 0}),
		func(_ place, c *checkpoint) bool { return c.token != nil }, func(_ place, c *checkpoint) { c.token = nil })

	return affected("UPDATE", n), err
}

func checkpointMakeLanes(s *Server, t *tx, a args) (result, error) {
	at := place{a.int(4), a.text(5), a.int(6), 0}
	mine := func(c *checkpoint) bool { return c != nil && same(c.token, a[6]) && c.next >= a.int(1) }
	if !mine(s.checkpoints.read(t, at)) {
		return affected("INSERT 0", 0), nil
	}
	c, err := s.checkpoints.hold(t, at)
	if err != nil || !mine(c) {
		return affected("INSERT 0", 0), err
	}
	earlier := func(_ place, lane *checkpoint) bool { return !same(lane.token, c.token) || lane.epoch < a.int(2) }
	made := 0
	for at.lane = 1; at.lane <= a.int(3); at.lane++ {
		inserted, err := s.checkpoints.insert(t, at, checkpoint{next: a.int(1), token: c.token, epoch: a.int(2)})
		n := 1
		if err == nil && !inserted {
			n, err = update(s.checkpoints, t, []place{at}, earlier, func(_ place, lane *checkpoint) {
				lane.next, lane.token, lane.epoch = a.int(1), c.token, a.int(2)
			})
		}
		if err != nil {
			return result{}, err
		}
		made += n
	}

	return affected("INSERT 0", made), nil
}

func checkpointClaim(s *Server, t *tx, a args) (result, error) {
	at := place{a.int(4), a.text(5), a.int(6), a.int(7)}
	advanced, err := update(s.checkpoints, t, []place{at}, func(_ place, c *checkpoint) bool {
		return same(c.token, a[7]) && c.next == a.int(9) && c.next <= a.int(10)
	}, func(_ place, c *checkpoint) { c.next, c.leaderEpoch = a.int(2), cmp.Or(a.maybeInt(3), c.leaderEpoch) })
	if err != nil {
		return result{}, err
	}
	keys, ids, metadata, fingerprints := a.texts(1), a.texts(12), a.texts(13), a.ints(14)
	claims := make(map[string]event, len(keys))
	for i, key := range keys {
		claims[key] = newEvent(t, a.text(11), element(ids, i), element(metadata, i), element(fingerprints, i))
	}
	var part []string
	if advanced == 1 {
		t.changed = append(t.changed, &reached{s, at, a.int(2)})
		for _, key := range slices.Sorted(maps.Keys(claims)) {
			claimed, err := s.events.insert(t, eventKey{at.consumer, key}, claims[key])
			if err != nil {
				return result{}, err
			}
			if claimed {
				part = append(part, key)
			}
		}
	}
	claimed := len(part)
	if claimed >= len(keys) {
		part = nil
	}

	return selected([][]*string{{boolText(advanced == 1), text(claimed), array(part)}},
		column{"advanced", oidBool}, column{"claimed", oidInt8}, column{"part", oidTexts}), nil
}

// element returns the zero value behind the end.
func element[T any](all []T, i int) T {
	if i < len(all) {
		return all[i]
	}
	var zero T

	return zero
}

func checkpointAdvance(s *Server, t *tx, a args) (result, error) {
	at := place{a.int(3), a.text(4), a.int(5), 0}
	numbers, seen := a.ints(8), a.ints(9)
	for i, number := range numbers {
		lane := at
		lane.lane = number
		if c := s.checkpoints.read(t, lane); c == nil || !same(c.token, a[5]) || c.next < seen[i] {
			return affected("UPDATE", 0), nil
		}
	}
	n, err := update(s.checkpoints, t, []place{at}, func(_ place, c *checkpoint) bool { return same(c.token, a[5]) && c.next == a.int(7) },
		func(_ place, c *checkpoint) { c.next, c.leaderEpoch = a.int(1), cmp.Or(a.maybeInt(2), c.leaderEpoch) })
	if n > 0 {
		t.changed = append(t.changed, &reached{s, at, a.int(1)})
	}

	return affected("UPDATE", n), err
}

func checkpointReset(s *Server, t *tx, a args) (result, error) {
	at := place{a.int(2), a.text(3), a.int(4), 0}
	ended := func(_ place, c *checkpoint) bool { return c.token == nil || same(c.token, a[4]) }
	former := s.checkpoints.read(t, at)
	if former != nil {
		back := former.next > a.int(1)
		_, err := update(s.checkpoints, t, s.lanesOf(t, at), ended, func(_ place, c *checkpoint) {
			if c.token = nil; back {
				c.next = 0
			}
		})
		if err != nil {
			return result{}, err
		}
	}
	var rows, earlier [][]*string
	if former != nil && same(former.token, a[5]) {
		earlier = append(earlier, []*string{text(former.epoch)})
	}
	seen := func(_ place, c *checkpoint) bool { return same(c.token, a[4]) && c.next >= a.int(9) }
	_, err := update(s.checkpoints, t, []place{at}, seen, func(_ place, c *checkpoint) {
		c.next, c.token, c.topicID, c.leaderEpoch, c.startedOffset, c.startedBy, c.starts = a.int(1), a[5], a[6], a.maybeInt(8), nil, nil, 0
		c.epoch++
		c.resetEpoch = c.epoch
		rows = append(rows, []*string{text(c.epoch)})
	})

	return selected(append(rows, earlier...), column{"epoch", oidInt8}), err
}

func checkpointStart(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	offset, decoded := a.int(1), a.bool(2)
	_, err := update(s.checkpoints, t, []place{{a.int(3), a.text(4), a.int(5), 0}}, func(_ place, c *checkpoint) bool { return same(c.token, a[5]) }, func(_ place, c *checkpoint) {
		switch {
		case c.startedOffset != nil && *c.startedOffset > offset:
			rows = append(rows, []*string{text(1), boolText(false)})

			return
		case c.startedOffset != nil && *c.startedOffset == offset:
			if !same(c.startedBy, c.token) {
				c.starts++
			}
			c.startedDecoded = c.startedDecoded || decoded
		default:
			c.starts, c.startedDecoded = 1, decoded
		}
		c.startedBy, c.startedOffset = c.token, &offset
		rows = append(rows, []*string{text(c.starts), boolText(c.startedDecoded)})
	})

	return selected(rows, column{"starts", oidInt4}, column{"decoded", oidBool}), err
}

func checkpointTakeBackStart(s *Server, t *tx, a args) (result, error) {
	n, err := update(s.checkpoints, t, []place{{a.int(1), a.text(2), a.int(3), 0}}, func(_ place, c *checkpoint) bool {
		return same(c.token, a[3]) && same(c.startedOffset, a.maybeInt(5)) && same(c.startedBy, c.token)
	}, func(_ place, c *checkpoint) { c.starts, c.startedBy = c.starts-1, nil })

	return affected("UPDATE", n), err
}

// reached notes how far a checkpoint has come, once that is committed.
type reached struct {
	server *Server
	at     place
	next   int64
}

func (r *reached) commit() func() {
	r.server.reached[r.at] = max(r.server.reached[r.at], r.next)

	return func() {}
}

func (*reached) forget() {}

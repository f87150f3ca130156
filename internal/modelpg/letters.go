package modelpg

import (
	"cmp"
	"fmt"
	"slices"
)

func letterInsert(s *Server, t *tx, a args) (result, error) {
	l := letter{
		state: a.text(3), topic: a.text(4), partition: a.int(5), offset: a.int(6), time: a[6], eventID: a[7], key: a.text(9), claimID: a[9],
		topicID: a.text(11), attempts: a.int(12), copied: a.bool(13), failure: a.text(14), keyHash: a.maybeInt(15),
		recordKey: a[15], value: a[16], headerKeys: a[17], headerValues: a[18],
	}
	// Who inserts another one of the same record is waited for.
	if err := s.recordLock(fmt.Sprint(a.int(1), l.topic, l.partition, l.topicID, l.offset, l.key)).take(t, true); err != nil {
		return result{}, err
	}
	same := s.letters.where(t, func(key letterKey, o *letter) bool {
		return key.consumer == a.int(1) && o.isUnresolved() && l.isUnresolved() &&
			o.topic == l.topic && o.partition == l.partition && o.topicID == l.topicID && o.offset == l.offset && o.key == l.key
	}, s.compareLetters(t))
	if n, err := update(s.letters, t, same, isUnresolved, func(_ letterKey, o *letter) { o.claimID = l.claimID }); n > 0 || err != nil {
		return affected("INSERT 0", n), err
	}
	inserted, err := s.letters.insert(t, letterKey{a.int(1), a.text(2)}, l)
	if err == nil && !inserted {
		err = failure("23505", "duplicate key value violates unique constraint")
	}

	return affected("INSERT 0", 1), err
}

func isUnresolved(_ letterKey, l *letter) bool { return l.isUnresolved() }

// compareLetters orders by offset, then id.
func (s *Server) compareLetters(t *tx) func(a, b letterKey) int {
	return func(a, b letterKey) int {
		return cmp.Or(cmp.Compare(s.letters.read(t, a).offset, s.letters.read(t, b).offset), cmp.Compare(a.id, b.id))
	}
}

// first returns the first unresolved dead letter of a record key, if there is one.
func (s *Server) first(t *tx, consumer int64, like *letter, before int64) []letterKey {
	all := s.letters.where(t, func(key letterKey, l *letter) bool {
		return key.consumer == consumer && l.isUnresolved() && l.topic == like.topic && l.partition == like.partition && l.topicID == like.topicID &&
			same(l.keyHash, like.keyHash) && (before < 0 || l.offset < before)
	}, s.compareLetters(t))

	return all[:min(1, len(all))]
}

func letterParkBehind(s *Server, t *tx, a args) (result, error) {
	like := &letter{topic: a.text(2), partition: a.int(3), topicID: a.text(4), keyHash: a.maybeInt(5)}
	n, err := update(s.letters, t, s.first(t, a.int(1), like, a.int(6)), isUnresolved, func(letterKey, *letter) {})

	return affected("UPDATE", n), err
}

func letterParkedKeys(s *Server, t *tx, a args) (result, error) {
	last := make(map[int64]int64)
	var hashes []int64
	keys := s.letters.where(t, func(key letterKey, l *letter) bool {
		return key.consumer == a.int(1) && l.topic == a.text(2) && l.partition == a.int(3) && l.topicID == a.text(4) && l.isUnresolved() && l.keyHash != nil
	}, s.compareLetters(t))
	for _, key := range keys {
		l := s.letters.read(t, key)
		last[*l.keyHash] = l.offset
		hashes = append(hashes, *l.keyHash)
	}
	slices.Sort(hashes)
	var rows [][]*string
	for _, hash := range slices.Compact(hashes) {
		rows = append(rows, []*string{text(hash), text(last[hash])})
	}

	return selected(rows, column{"key_hash", oidInt8}, column{"last_offset", oidInt8}), nil
}

// due returns the dead letters of a partition that are to be replayed, in their order.
func (s *Server) due(t *tx, consumer int64, topic string, partition int64) []letterKey {
	return s.letters.where(t, func(key letterKey, l *letter) bool {
		return key.consumer == consumer && l.topic == topic && l.partition == partition && isDue(key, l)
	}, s.compareLetters(t))
}

func isDue(_ letterKey, l *letter) bool { return l.state == "replay" }

func letterDue(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	numbers := a.ints(2)
	for i, topic := range a.texts(1) {
		if len(s.due(t, a.int(3), topic, numbers[i])) > 0 {
			rows = append(rows, []*string{&topic, text(numbers[i])})
		}
	}

	return selected(rows, column{"topic", oidText}, column{"partition", oidInt4}), nil
}

var letterColumns = []column{
	{"id", oidUUID}, {"state", oidText}, {"topic", oidText}, {"record_partition", oidInt4}, {"record_offset", oidInt8}, {"event_id", oidText}, {"key", oidUUID},
	{"claim_id", oidUUID}, {"topic_id", oidUUID}, {"attempts", oidInt4}, {"starts", oidInt4}, {"copied", oidBool}, {"error", oidText}, {"record_key", oidBytea},
	{"record_value", oidBytea}, {"header_keys", oidByteas}, {"header_values", oidByteas}, {"record_micros", oidInt8},
}

func letterNext(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	due := s.due(t, a.int(1), a.text(2), a.int(3))
	_, err := update(s.letters, t, due[:min(1, len(due))], isDue, func(key letterKey, l *letter) {
		l.starts++
		rows = append(rows, []*string{
			&key.id, &l.state, &l.topic, text(l.partition), text(l.offset), l.eventID, &l.key, l.claimID, &l.topicID, text(l.attempts), text(l.starts), boolText(l.copied), &l.failure,
			l.recordKey, l.value, l.headerKeys, l.headerValues, text(microsOf(l.time)),
		})
	})

	return selected(rows, letterColumns...), err
}

func (s *Server) updateLetter(t *tx, consumer int64, id string, match func(letterKey, *letter) bool, change func(l *letter)) (result, error) {
	n, err := update(s.letters, t, []letterKey{{consumer, id}}, match, func(_ letterKey, l *letter) { change(l) })

	return affected("UPDATE", n), err
}

func letterPutBack(s *Server, t *tx, a args) (result, error) {
	return s.updateLetter(t, a.int(1), a.text(2), func(key letterKey, l *letter) bool { return isDue(key, l) && l.starts > 0 }, func(l *letter) { l.starts-- })
}

func letterFail(s *Server, t *tx, a args) (result, error) {
	return s.updateLetter(t, a.int(4), a.text(5), isDue, func(l *letter) {
		l.state, l.attempts, l.starts, l.copied, l.failure = "open", l.attempts+a.int(1), 0, l.copied || a.bool(2), a.text(3)
	})
}

func letterResolve(s *Server, t *tx, a args) (result, error) {
	return s.updateLetter(t, a.int(4), a.text(5), isDue, func(l *letter) {
		l.state, l.eventID, l.claimID = a.text(1), cmp.Or(a[1], l.eventID), cmp.Or(a[2], l.claimID)
	})
}

// firstOfKeys locks the first unresolved dead letters of the keys of some.
func (s *Server) firstOfKeys(t *tx, consumer int64, ids []string) ([]letterKey, error) {
	var firsts []letterKey
	for _, id := range slices.Sorted(slices.Values(ids)) {
		l := s.letters.read(t, letterKey{consumer, id})
		if l == nil || l.keyHash == nil {
			continue
		}
		for _, key := range s.first(t, consumer, l, -1) {
			held, err := s.letters.hold(t, key)
			if err != nil {
				return nil, err
			}
			if held != nil && held.isUnresolved() && !slices.Contains(firsts, key) {
				firsts = append(firsts, key)
			}
		}
	}

	return firsts, nil
}

func letterLockKeys(s *Server, t *tx, a args) (result, error) {
	firsts, err := s.firstOfKeys(t, a.int(1), a.texts(2))
	var rows [][]*string
	for _, key := range firsts {
		rows = append(rows, []*string{&key.id})
	}

	return selected(rows, column{"id", oidUUID}), err
}

func letterRelease(s *Server, t *tx, a args) (result, error) {
	firsts, err := s.firstOfKeys(t, a.int(1), a.texts(2))
	if err != nil {
		return result{}, err
	}
	n, err := update(s.letters, t, firsts, func(_ letterKey, l *letter) bool { return l.state == "parked" }, func(_ letterKey, l *letter) { l.state = "replay" })

	return affected("UPDATE", n), err
}

package modelpg

import (
	"cmp"
	"slices"
	"time"
)

// statement executes one with its arguments.
type statement func(s *Server, t *tx, a args) (result, error)

// statements are those that are known, by the names that sqlc knows them by (queries/*.sql).
var statements = map[string]statement{
	"SchemaVersion": func(*Server, *tx, args) (result, error) {
		return selected([][]*string{{text(schemaVersion)}}, column{"version", oidInt4}), nil
	},
	"ConsumerGet": consumerGet, "ConsumerInsert": consumerInsert, "ConsumerBind": consumerBind, "ConsumerPaused": consumerPaused,

	"PartitionLimitWait": limitWait, "PartitionHold": hold, "PartitionHoldAlone": holdAlone, "PartitionHolders": holders, "PartitionEndHolder": endHolder,
	"CheckpointLockers": lockers, "CheckpointLock": checkpointLock, "CheckpointRead": checkpointRead, "CheckpointReadOwned": checkpointReadOwned,
	"CheckpointInsert": checkpointInsert, "CheckpointAcquire": checkpointAcquire, "CheckpointEndLanes": checkpointEndLanes,
	"CheckpointMakeLanes": checkpointMakeLanes, "CheckpointClaim": checkpointClaim, "CheckpointAdvance": checkpointAdvance,
	"CheckpointReset": checkpointReset, "CheckpointStart": checkpointStart, "CheckpointTakeBackStart": checkpointTakeBackStart,

	"EventClaimOne": eventClaimOne, "EventClaimOwned": eventClaimOwned, "EventGet": eventGet, "EventDuplicates": eventDuplicates, "EventReclaim": eventReclaim,

	"DeadLetterInsert": letterInsert, "DeadLetterParkBehind": letterParkBehind, "DeadLetterParkedKeys": letterParkedKeys, "DeadLetterDue": letterDue,
	"DeadLetterNext": letterNext, "DeadLetterPutBack": letterPutBack, "DeadLetterFail": letterFail,
	"DeadLetterLockKeys": letterLockKeys, "DeadLetterResolve": letterResolve, "DeadLetterRelease": letterRelease,

	EffectStatement: effectInsert,
}

// EffectStatement is the name of the statement by which handlers have an effect: "-- name: Effect :exec", with the
// partition, the offset, the event id and whether it is a replay.
const EffectStatement = "Effect"

// appended is an effect of a transaction that is not committed yet.
type appended struct {
	server *Server
	effect Effect
}

func (e *appended) commit() func() {
	e.server.effects = append(e.server.effects, e.effect)

	return func() { e.server.effects = e.server.effects[:len(e.server.effects)-1] }
}

func (*appended) forget() {}

func effectInsert(s *Server, t *tx, a args) (result, error) {
	t.changed = append(t.changed, &appended{s, Effect{int32(a.int(1)), a.int(2), a.text(3), a.bool(4)}}) //nolint:gosec // It was one.

	return affected("INSERT 0", 1), nil
}

func consumerGet(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	if c := s.consumers.read(t, a.int(1)); c != nil {
		rows = [][]*string{{&c.name, &c.retention, c.boundCluster, c.boundGroup, nil}}
	}

	return selected(rows, column{"name", oidText}, column{"retention_micros", oidInt8}, column{"bound_cluster", oidText}, column{"bound_group", oidText}, column{"closed", oidText}), nil
}

func consumerInsert(s *Server, t *tx, a args) (result, error) {
	inserted, err := s.consumers.insert(t, a.int(1), consumer{name: a.text(2), retention: micros(a.text(3))})

	return affected("INSERT 0", count(inserted)), err
}

func consumerBind(s *Server, t *tx, a args) (result, error) {
	n, err := update(s.consumers, t, []int64{a.int(3)}, func(_ int64, c *consumer) bool { return c.boundGroup == nil }, func(_ int64, c *consumer) {
		c.boundCluster, c.boundGroup = a[0], a[1]
	})

	return affected("UPDATE", n), err
}

func consumerPaused(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	if c := s.consumers.read(t, a.int(1)); c != nil && c.isPaused {
		rows = [][]*string{{text(c.pausedAt), &c.pausedBy, &c.pauseReason}}
	}

	return selected(rows, column{"paused_micros", oidInt8}, column{"paused_by", oidText}, column{"pause_reason", oidText}), nil
}

// update changes those rows of some keys that a transaction sees and that match, before and after it has waited for
// others that change them, and returns how many.
func update[K comparable, V any](tb table[K, V], t *tx, keys []K, match func(K, *V) bool, change func(K, *V)) (int, error) {
	n := 0
	for _, key := range keys {
		if v := tb.read(t, key); v == nil || !match(key, v) {
			continue
		}
		v, err := tb.hold(t, key)
		if err != nil {
			return n, err
		}
		if v == nil || !match(key, v) {
			continue
		}
		changed := *v
		change(key, &changed)
		tb.put(t, key, &changed)
		n++
	}

	return n, nil
}

func count(b bool) int {
	if b {
		return 1
	}

	return 0
}

func limitWait(_ *Server, t *tx, a args) (result, error) {
	t.lockTimeout = time.Duration(a.int(1)) * time.Millisecond

	return selected([][]*string{{a[0]}}, column{"set_config", oidText}), nil
}

func hold(s *Server, t *tx, a args) (result, error) {
	return selected([][]*string{{ptr("")}}, column{"pg_advisory_xact_lock_shared", oidText}), s.advisoryLock(a.int(1)).take(t, false)
}

func holdAlone(s *Server, t *tx, a args) (result, error) {
	return selected([][]*string{{ptr("")}}, column{"pg_advisory_xact_lock", oidText}), s.advisoryLock(a.int(1)).take(t, true)
}

var sessionColumns = []column{{"pid", oidInt4}, {"role", oidText}, {"application", oidText}}

func sessionRows(all []*session) [][]*string {
	var rows [][]*string
	for _, n := range all {
		rows = append(rows, []*string{text(n.pid), ptr("simulated"), &n.client})
	}

	return rows
}

func holders(s *Server, _ *tx, a args) (result, error) {
	l := s.advisoryLock(a.int(1))
	all := slices.DeleteFunc(s.inOrder(), func(n *session) bool { return n.tx == nil || !l.isHeldBy(n.tx) })

	return selected(sessionRows(all), sessionColumns...), nil
}

func endHolder(s *Server, _ *tx, a args) (result, error) {
	var rows [][]*string
	n := s.sessions[int32(a.int(1))] //nolint:gosec // It was one.
	if n != nil && n.tx != nil && s.advisoryLock(a.int(2)).isHeldBy(n.tx) {
		n.end("terminating connection due to administrator command")
		rows = [][]*string{{boolText(true)}}
	}

	return selected(rows, column{"ended", oidBool}), nil
}

func lockers(s *Server, t *tx, _ args) (result, error) {
	var all []*session
	for _, n := range s.inOrder() {
		if n.tx == nil || n == t.session {
			continue
		}
		rows, advisory := false, false
		for _, l := range n.tx.locks {
			for _, r := range s.checkpoints {
				rows = rows || l == &r.lock
			}
			for _, held := range s.advisory {
				advisory = advisory || l == held
			}
		}
		if rows && !advisory {
			all = append(all, n)
		}
	}

	return selected(sessionRows(all), sessionColumns...), nil
}

// Events.

func newEvent(t *tx, claimID, eventID, metadata string, fingerprint int64) event {
	e := event{claimID: claimID, eventID: orNull(eventID), metadata: orNull(metadata), processed: t.began.UnixMicro()}
	if fingerprint != 0 {
		e.fingerprint = &fingerprint
	}

	return e
}

func eventClaimOne(s *Server, t *tx, a args) (result, error) {
	inserted, err := s.events.insert(t, eventKey{a.int(1), a.text(2)}, newEvent(t, a.text(3), a.text(4), a.text(5), a.int(6)))

	return affected("INSERT 0", count(inserted)), err
}

func eventClaimOwned(s *Server, t *tx, a args) (result, error) {
	at := place{a.int(1), a.text(2), a.int(3), 0}
	mine := func(c *checkpoint) bool { return c != nil && same(c.token, a[3]) }
	owned := mine(s.checkpoints.read(t, at))
	if owned {
		c, err := s.checkpoints.share(t, at)
		if err != nil {
			return result{}, err
		}
		owned = mine(c)
	}
	claimed := false
	if owned {
		var err error
		if claimed, err = s.events.insert(t, eventKey{a.int(1), a.text(5)}, newEvent(t, a.text(6), a.text(7), a.text(8), a.int(9))); err != nil {
			return result{}, err
		}
	}

	return selected([][]*string{{boolText(owned), text(count(claimed))}}, column{"owned", oidBool}, column{"claimed", oidInt8}), nil
}

func eventGet(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	if e := s.events.read(t, eventKey{a.int(1), a.text(2)}); e != nil {
		rows = [][]*string{{a[1], &e.claimID, text(e.processed), e.eventID, e.metadata, text(zeroIfNull(e.fingerprint))}}
	}

	return selected(rows, column{"key", oidUUID}, column{"claim_id", oidUUID}, column{"processed_micros", oidInt8}, column{"event_id", oidText},
		column{"metadata", oidJSONB}, column{"fingerprint", oidInt8}), nil
}

func eventDuplicates(s *Server, t *tx, a args) (result, error) {
	var rows [][]*string
	for _, key := range slices.Compact(slices.Sorted(slices.Values(a.texts(2)))) {
		if e := s.events.read(t, eventKey{a.int(1), key}); e != nil {
			rows = append(rows, []*string{
				&key, text(zeroIfNull(e.fingerprint)), text(e.processed), text(t.began.UnixMicro()),
				ptr(member(e.metadata, "topic")), ptr(member(e.metadata, "partition")), ptr(member(e.metadata, "offset")),
			})
		}
	}

	return selected(rows, column{"key", oidUUID}, column{"fingerprint", oidInt8}, column{"processed_micros", oidInt8}, column{"now_micros", oidInt8},
		column{"topic", oidText}, column{"partition", oidText}, column{"record_offset", oidText}), nil
}

func eventReclaim(s *Server, t *tx, a args) (result, error) {
	key := eventKey{a.int(1), a.text(2)}
	match := func(e *event) bool { return e != nil && (a.text(3) == "" || e.claimID == a.text(3)) }
	if !match(s.events.read(t, key)) {
		return affected("DELETE", 0), nil
	}
	e, err := s.events.hold(t, key)
	if err != nil || !match(e) {
		return affected("DELETE", 0), err
	}
	s.events.put(t, key, nil)

	return affected("DELETE", 1), nil
}

func zeroIfNull(v *int64) int64 { return *cmp.Or(v, new(int64)) }

package modelpg_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/db"
)

const (
	consumerName = "orders"
	topicName    = "t"
)

var (
	queries   = db.New()
	tokens    = []string{"00000000-0000-4000-8000-00000000000a", "00000000-0000-4000-8000-00000000000b"}
	keys      = []string{"00000000-0000-4000-8000-000000000001", "00000000-0000-4000-8000-000000000002", "00000000-0000-4000-8000-000000000003"}
	letterIDs = func() (all []string) {
		for n := range 12 {
			all = append(all, fmt.Sprintf("00000000-0000-7000-8000-%012d", n))
		}

		return all
	}()
)

// deck draws statements with arguments that meet those of others.
type deck struct {
	*rand.Rand

	consumer int64
}

// call executes a statement and returns its rows.
type call func(ctx context.Context, conn db.DBTX) (any, error)

// none is the answer of a statement without rows.
func none(err error) (any, error) { return nil, err }

// draw returns a statement, and its name.
func (d *deck) draw() (string, call) {
	all := d.all()
	name := d.of(slices.Sorted(maps.Keys(all)))

	return name, all[name]
}

func (d *deck) of(all []string) string { return all[d.IntN(len(all))] }

func (d *deck) some(all []string) []string {
	picked := slices.Clone(all)
	d.Shuffle(len(picked), func(i, j int) { picked[i], picked[j] = picked[j], picked[i] })

	return picked[:d.IntN(len(picked)+1)]
}

func (d *deck) offset() int64 { return d.Int64N(4) }

func maybe[T any](d *deck, v T) *T {
	if d.IntN(3) == 0 {
		return nil
	}

	return &v
}

// all are the statements, each with arguments drawn anew.
func (d *deck) all() map[string]call {
	partition, lane, token, nextToken, epoch := d.Int32N(2), d.Int32N(3), d.of(tokens), d.of(tokens), maybe(d, d.Int32N(3))
	topicID := uuid.NullUUID{UUID: uuid.MustParse(tokens[0]), Valid: d.IntN(2) == 0}
	key, claim, fingerprint := d.of(keys), d.of(keys), d.Int64N(3)
	some := d.some(keys)
	fingerprints := make([]int64, len(some))
	for i := range fingerprints {
		fingerprints[i] = d.Int64N(2)
	}
	seen, next, first := d.offset(), d.offset(), d.offset()
	keyHash, id := maybe(d, d.Int64N(2)), uuid.MustParse(d.of(letterIDs))
	state := []string{"open", "parked", "replay"}[d.IntN(3)]
	ids := d.some(letterIDs)
	laneNumbers, laneOffsets := []int32{}, []int64{}
	for number := range d.Int32N(3) {
		laneNumbers, laneOffsets = append(laneNumbers, number+1), append(laneOffsets, d.offset())
	}
	eventID, maybePrint, owned := maybe(d, "e"), maybe(d, fingerprint), d.some(tokens)

	return map[string]call{
		"ConsumerGet": func(ctx context.Context, c db.DBTX) (any, error) { return queries.ConsumerGet(ctx, c, d.consumer) },
		"ConsumerInsert": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.ConsumerInsert(ctx, c, db.ConsumerInsertParams{ID: d.consumer, Name: consumerName, Retention: 3723e9}))
		},
		"ConsumerBind": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.ConsumerBind(ctx, c, db.ConsumerBindParams{ID: d.consumer, BoundCluster: "c", BoundGroup: token}))
		},
		"ConsumerPaused": func(ctx context.Context, c db.DBTX) (any, error) { return queries.ConsumerPaused(ctx, c, d.consumer) },
		"PartitionLimitWait": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.PartitionLimitWait(ctx, c, "20"))
		},
		"PartitionHold": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.PartitionHold(ctx, c, int64(partition)))
		},
		"PartitionHoldAlone": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.PartitionHoldAlone(ctx, c, int64(partition)))
		},
		"PartitionHolders": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.PartitionHolders(ctx, c, int64(partition))

			return applications(rows, func(r db.PartitionHoldersRow) string { return r.Application }), err
		},
		"CheckpointLockers": func(ctx context.Context, c db.DBTX) (any, error) {
			_, err := queries.CheckpointLockers(ctx, c)

			return nil, err // PostgreSQL names too many: who has waited for a row, for instance.
		},
		"CheckpointLock": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.CheckpointLock(ctx, c, db.CheckpointLockParams{ConsumerID: d.consumer, Topic: topicName, Partition: partition, Lane: lane})
		},
		"CheckpointRead": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.CheckpointRead(ctx, c, db.CheckpointReadParams{ConsumerID: d.consumer, Topic: topicName, Partition: partition})

			return sorted(rows), err
		},
		"CheckpointReadOwned": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.CheckpointReadOwned(ctx, c, db.CheckpointReadOwnedParams{ConsumerID: d.consumer, OwnerTokens: owned})

			return sorted(rows), err
		},
		"CheckpointInsert": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.CheckpointInsert(ctx, c, db.CheckpointInsertParams{
				ConsumerID: d.consumer, Topic: topicName, Partition: partition, TopicID: topicID, NextOffset: next, Owner: &token, OwnerToken: token,
			})

			for i := range rows {
				rows[i].AcquiredMicros = 0
			}

			return rows, err
		},
		"CheckpointAcquire": func(ctx context.Context, c db.DBTX) (any, error) {
			row, err := queries.CheckpointAcquire(ctx, c, db.CheckpointAcquireParams{
				OwnerToken: token, Owner: &token, TopicID: topicID, ConsumerID: d.consumer, Topic: topicName, Partition: partition,
			})
			row.AcquiredMicros = 0

			return row, err
		},
		"CheckpointEndLanes": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.CheckpointEndLanes(ctx, c, db.CheckpointEndLanesParams{ConsumerID: d.consumer, Topic: topicName, Partition: partition}))
		},
		"CheckpointMakeLanes": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.CheckpointMakeLanes(ctx, c, db.CheckpointMakeLanesParams{
				NextOffset: next, Try: seen, Lanes: 1 + lane, ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token,
			})
		},
		"CheckpointClaim": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.CheckpointClaim(ctx, c, db.CheckpointClaimParams{
				Keys: some, NextOffset: next + 1, LeaderEpoch: epoch, ConsumerID: d.consumer, Topic: topicName, Partition: partition, Lane: lane, OwnerToken: token,
				SeenOffset: seen, FirstOffset: first, ClaimID: claim, EventIds: some, Metadata: make([]string, len(some)), Fingerprints: fingerprints,
			})
			for i := range rows {
				slices.Sort(rows[i].Part)
			}

			return rows, err
		},
		"CheckpointAdvance": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.CheckpointAdvance(ctx, c, db.CheckpointAdvanceParams{
				NextOffset: next, LeaderEpoch: epoch, ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token, SeenOffset: seen,
				Lanes: laneNumbers, LaneOffsets: laneOffsets,
			})
		},
		"CheckpointReset": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.CheckpointReset(ctx, c, db.CheckpointResetParams{
				NextOffset: next, NextToken: nextToken, LeaderEpoch: epoch, TopicID: topicID, ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token,
				SeenOffset: seen,
			})
		},
		"CheckpointStart": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.CheckpointStart(ctx, c, db.CheckpointStartParams{
				StartedOffset: &first, Decoded: next%2 == 0, ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token,
			})
		},
		"CheckpointTakeBackStart": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.CheckpointTakeBackStart(ctx, c, db.CheckpointTakeBackStartParams{
				ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token, StartedOffset: &first,
			}))
		},
		"EventClaimOne": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.EventClaimOne(ctx, c, db.EventClaimOneParams{ConsumerID: d.consumer, Key: key, ClaimID: claim, EventID: eventID, Fingerprint: maybePrint})
		},
		"EventClaimOwned": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.EventClaimOwned(ctx, c, db.EventClaimOwnedParams{
				ConsumerID: d.consumer, Topic: topicName, Partition: partition, OwnerToken: token, Key: key, ClaimID: claim, EventID: "e", Fingerprint: fingerprint,
			})
		},
		"EventGet": func(ctx context.Context, c db.DBTX) (any, error) {
			row, err := queries.EventGet(ctx, c, db.EventGetParams{ConsumerID: d.consumer, Key: uuid.MustParse(key)})
			row.ProcessedMicros = 0

			return row, err
		},
		"EventDuplicates": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.EventDuplicates(ctx, c, db.EventDuplicatesParams{ConsumerID: d.consumer, Keys: some})
			for i := range rows {
				rows[i].ProcessedMicros, rows[i].NowMicros = 0, 0
			}

			return sorted(rows), err
		},
		"EventReclaim": func(ctx context.Context, c db.DBTX) (any, error) {
			p := db.EventReclaimParams{ConsumerID: d.consumer, Key: key}
			if first%2 == 0 {
				p.ClaimID = claim
			}

			return none(queries.EventReclaim(ctx, c, p))
		},
		"DeadLetterInsert": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.DeadLetterInsert(ctx, c, db.DeadLetterInsertParams{
				ConsumerID: d.consumer, ID: id,
				State: state, Topic: topicName, RecordPartition: partition, RecordOffset: first, EventID: eventID,
				Key: uuid.MustParse(key), ClaimID: topicID, Attempts: 2, Copied: first%2 == 0, Error: "it \"failed\", {so}\\", KeyHash: keyHash,
				RecordKey: []byte{0, '"', ','}, RecordValue: []byte("v"), HeaderKeys: [][]byte{[]byte("h"), []byte(",")}, HeaderValues: [][]byte{[]byte(""), nil},
			}))
		},
		"DeadLetterParkBehind": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.DeadLetterParkBehind(ctx, c, db.DeadLetterParkBehindParams{
				ConsumerID: d.consumer, Topic: topicName, RecordPartition: partition, KeyHash: keyHash, RecordOffset: first,
			})
		},
		"DeadLetterParkedKeys": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.DeadLetterParkedKeys(ctx, c, db.DeadLetterParkedKeysParams{ConsumerID: d.consumer, Topic: topicName, RecordPartition: partition})

			texts := make([]string, len(rows))
			for i, r := range rows {
				texts[i] = strconv.FormatInt(*r.KeyHash, 10) + ":" + strconv.FormatInt(r.LastOffset, 10)
			}

			return sorted(texts), err
		},
		"DeadLetterDue": func(ctx context.Context, c db.DBTX) (any, error) {
			rows, err := queries.DeadLetterDue(ctx, c, db.DeadLetterDueParams{Topics: []string{topicName, topicName}, Partitions: []int32{0, 1}, ConsumerID: d.consumer})

			return sorted(rows), err
		},
		"DeadLetterNext": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.DeadLetterNext(ctx, c, db.DeadLetterNextParams{ConsumerID: d.consumer, Topic: topicName, RecordPartition: partition})
		},
		"DeadLetterPutBack": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.DeadLetterPutBack(ctx, c, db.DeadLetterPutBackParams{ConsumerID: d.consumer, ID: id}))
		},
		"DeadLetterFail": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.DeadLetterFail(ctx, c, db.DeadLetterFailParams{Attempts: 3, Copied: first%2 == 0, Error: "again", ConsumerID: d.consumer, ID: id})
		},
		"DeadLetterLockKeys": func(ctx context.Context, c db.DBTX) (any, error) {
			return none(queries.DeadLetterLockKeys(ctx, c, db.DeadLetterLockKeysParams{ConsumerID: d.consumer, Ids: ids}))
		},
		"DeadLetterResolve": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.DeadLetterResolve(ctx, c, db.DeadLetterResolveParams{State: "replayed", EventID: eventID, ClaimID: topicID, ConsumerID: d.consumer, ID: id})
		},
		"DeadLetterRelease": func(ctx context.Context, c db.DBTX) (any, error) {
			return queries.DeadLetterRelease(ctx, c, db.DeadLetterReleaseParams{ConsumerID: d.consumer, Ids: ids})
		},
	}
}

func applications[R any](rows []R, application func(R) string) []string {
	names := make([]string, 0, len(rows))
	for _, r := range rows {
		names = append(names, application(r))
	}
	slices.Sort(names)

	return slices.Compact(names) // Who holds both locks counts twice in PostgreSQL.
}

// sorted are rows as texts, in an order of their own.
func sorted[R any](rows []R) []string {
	texts := make([]string, 0, len(rows))
	for _, r := range rows {
		texts = append(texts, fmt.Sprintf("%+v", r))
	}
	slices.Sort(texts)

	return texts
}

package idem

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
)

// acquireWait is how long one attempt to acquire waits for transactions of the former owner.
const acquireWait = 100 * time.Millisecond

// AcquireOptions change Acquire. The zero value has defaults.
type AcquireOptions struct {
	// Patience is how long a former owner may take to end the transactions that it has begun. After
	// that the former owner counts as frozen or gone, and the sessions of those transactions are
	// terminated. Default 0: at once.
	Patience time.Duration

	// Start returns the first offset to process in a partition that has no checkpoint. Its error
	// ends Acquire, and nothing is written. Default: offset 0.
	Start func(ctx context.Context) (int64, error)

	// WithoutEventIDs says that the caller will process records without claims, so that the checkpoint alone tells which are
	// processed. It is refused (ErrInvalidConfig) while lanes have processed records beyond the checkpoint.
	WithoutEventIDs bool

	// Waiting is called once a second with what Acquire waits for. Default: the guard's Logger gets
	// a line once a minute.
	Waiting func(reason error)
}

// Acquire makes the caller the owner of a partition: from then on only its transactions advance the
// checkpoint, and those of a former owner fail with ErrFenced. It waits for the transactions that
// the former owner has begun; after AcquireOptions.Patience it terminates their sessions, which
// needs the same role (or pg_signal_backend). It terminates no other sessions. If it lacks that
// right, or somebody else has locked the row, it waits until ctx ends, and says for whom. Transient
// errors are retried by the guard's policy.
func (g *Guard) Acquire(ctx context.Context, p Partition, opts AcquireOptions) (*Owner, error) {
	if err := g.check(); err != nil {
		return nil, err
	}
	if !p.ofRecord() || opts.Patience < 0 {
		return nil, fmt.Errorf("%w: Acquire needs a topic, a partition and a patience that are not negative", ErrInvalidConfig)
	}
	token, err := newToken()
	if err != nil {
		return nil, err
	}
	a := &acquisition{
		options: opts, waiting: newWaiting(g, p, opts.Waiting), deadline: time.Now().Add(opts.Patience),
		owner: &Owner{guard: g, partition: p, lockKey: g.lockKey(p)},
	}
	a.owner.token.Store(&token)
	g.registered.Store(false) // A database that went back may have forgotten the consumer.
	if err := a.run(ctx); err != nil {
		return nil, fmt.Errorf("idem: acquire %v: %w", p, err)
	}

	return a.owner, nil
}

// acquisition is an Acquire under way.
type acquisition struct {
	options  AcquireOptions
	owner    *Owner
	waiting  *waiting
	deadline time.Time

	terminated []int32 // process ids of sessions
	start      *int64  // where to begin if there is no checkpoint; nil until it is known that there is none
}

var (
	// errHeld says that a transaction holds the partition, errLocked that one has locked the row.
	errHeld   = errors.New("a transaction of the former owner is under way")
	errLocked = errors.New("another transaction has locked the checkpoint")

	// errNoCheckpoint says that the partition has no checkpoint yet.
	errNoCheckpoint = errors.New("the partition has no checkpoint")
)

func (a *acquisition) run(ctx context.Context) error {
	g := a.owner.guard
	for {
		err := g.config.Retry.do(ctx, &g.retries, func() error { return a.try(ctx) })
		switch {
		case errors.Is(err, errNoCheckpoint):
			if err := a.find(ctx); err != nil {
				return err
			}
		case errors.Is(err, errHeld):
			a.endHolders(ctx, err)
		case errors.Is(err, errLocked):
			a.waiting.tell(ctx, a.lockers(ctx, err))
		default:
			return err
		}
		if err := ctx.Err(); err != nil {
			return endOf(ctx, a.waiting.last(err))
		}
	}
}

// try waits a little for the partition and acquires it.
func (a *acquisition) try(ctx context.Context) error {
	g, o := a.owner.guard, a.owner
	if err := g.register(ctx); err != nil {
		return err
	}
	pooled, err := g.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer pooled.Release()
	err = pgx.BeginTxFunc(ctx, pooled, pgx.TxOptions{IsoLevel: pgx.ReadCommitted}, func(tx pgx.Tx) error {
		conn := g.names.on(tx)
		if err := g.queries.PartitionLimitWait(ctx, conn, strconv.FormatInt(acquireWait.Milliseconds(), 10)); err != nil {
			return err
		}
		if err := g.queries.PartitionHoldAlone(ctx, conn, o.lockKey); err != nil {
			return heldBy(errHeld, err)
		}
		former, err := g.queries.CheckpointLock(ctx, conn, o.lockParams())
		if err != nil {
			return heldBy(errLocked, err)
		}
		if len(former) == 0 {
			return a.begin(ctx, conn)
		}
		if err := a.refuseAhead(ctx, conn, former[0].NextOffset); err != nil {
			return err
		}
		row, err := g.queries.CheckpointAcquire(ctx, conn, db.CheckpointAcquireParams{
			ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number,
			TopicID: nullable(o.partition.TopicID), Owner: ownerName(), OwnerToken: o.Token(),
		})
		if err == nil {
			err = g.queries.CheckpointEndLanes(ctx, conn, db.CheckpointEndLanesParams{
				ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number,
			})
		}
		if err != nil {
			return err
		}
		o.topicID, o.leaderEpoch, o.epoch, o.resetEpoch = row.TopicID, row.LeaderEpoch, row.Epoch, row.ResetEpoch
		o.isNew = o.isNew && former[0].OwnerToken.UUID.String() == o.Token() // It has landed before, and only the answer was lost.
		o.acquired.Store(row.AcquiredMicros)
		o.at(row.NextOffset)

		return nil
	})
	err = explain(err)
	closeUseless(ctx, pooled, err)

	return err
}

// refuseAhead refuses a partition of which lanes have processed records that only event ids tell.
func (a *acquisition) refuseAhead(ctx context.Context, conn db.DBTX, next int64) error {
	if !a.options.WithoutEventIDs {
		return nil
	}
	o := a.owner
	rows, err := o.guard.queries.CheckpointRead(ctx, conn, db.CheckpointReadParams{
		ConsumerID: o.guard.consumer, Topic: o.partition.Topic, Partition: o.partition.Number,
	})
	if err != nil {
		return err
	}
	ahead := next
	for _, row := range rows {
		ahead = max(ahead, row.NextOffset)
	}
	if ahead > next {
		return fmt.Errorf("%w: lanes have processed records of it between the checkpoint, %d, and %d, and only the event ids tell which: "+
			"go on with event ids and without lanes until the checkpoint is there", ErrInvalidConfig, next, ahead)
	}

	return nil
}

// heldBy makes of a lock that was not had in time what it means.
func heldBy(meaning, err error) error {
	var pgErr *pgconn.PgError
	if errors.As(err, &pgErr) && pgErr.Code == "55P03" {
		return meaning
	}

	return err
}

// find returns where the first owner of the partition begins.
func (a *acquisition) find(ctx context.Context) error {
	next := int64(0)
	if a.options.Start != nil {
		var err error
		if next, err = a.options.Start(ctx); err != nil {
			return err
		}
	}
	a.start = &next

	return nil
}

// begin creates the checkpoint of a partition that has none, if it is known where to begin.
func (a *acquisition) begin(ctx context.Context, conn db.DBTX) error {
	g, o := a.owner.guard, a.owner
	if a.start == nil {
		return errNoCheckpoint
	}
	inserted, err := g.queries.CheckpointInsert(ctx, conn, db.CheckpointInsertParams{
		ConsumerID: g.consumer, Topic: o.partition.Topic, Partition: o.partition.Number,
		TopicID: nullable(o.partition.TopicID), NextOffset: *a.start, Owner: ownerName(), OwnerToken: o.Token(),
	})
	switch {
	case err != nil:
		return heldBy(errLocked, err)
	case len(inserted) == 0:
		return errNoCheckpoint // There was none, but somebody else has made one meanwhile.
	}
	o.topicID, o.epoch, o.isNew = nullable(o.partition.TopicID), inserted[0].Epoch, true
	o.acquired.Store(inserted[0].AcquiredMicros)
	o.at(*a.start)

	return nil
}

// endHolders terminates the sessions that hold the partition, once patience is over.
func (a *acquisition) endHolders(ctx context.Context, held error) {
	if time.Now().Before(a.deadline) {
		return
	}
	g, o := a.owner.guard, a.owner
	var holders []db.PartitionHoldersRow
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		holders, err = g.queries.PartitionHolders(ctx, conn, o.lockKey)

		return err
	})
	for _, holder := range holders {
		err = g.onConn(ctx, func(conn db.DBTX) error {
			_, err := g.queries.PartitionEndHolder(ctx, conn, db.PartitionEndHolderParams{Pid: holder.Pid, LockKey: o.lockKey})

			return err
		})
		session := session{holder.Pid, holder.Role, holder.Application}
		switch {
		case err != nil:
			a.waiting.tell(ctx, fmt.Errorf("%w in the session %v, which cannot be terminated: %w", held, session, err))
		case slices.Contains(a.terminated, holder.Pid):
			a.waiting.tell(ctx, fmt.Errorf("%w in the session %v, which was terminated and does not end", held, session))
		default:
			a.terminated = append(a.terminated, holder.Pid)
			g.log.WarnContext(ctx, "idem: session of a former owner terminated", "partition", o.partition.String(), "session", session)
		}
	}
	if err != nil && len(holders) == 0 {
		a.waiting.tell(ctx, fmt.Errorf("%w; its session is not known: %w", held, err))
	}
}

// lockers adds to an error the sessions that may have locked the row. Whoever locks a row does not
// show in pg_locks while nobody waits, so these are all that have locked rows of the table, less those
// that are known to process something else.
func (a *acquisition) lockers(ctx context.Context, locked error) error {
	g := a.owner.guard
	var rows []db.CheckpointLockersRow
	err := g.onConn(ctx, func(conn db.DBTX) error {
		var err error
		rows, err = g.queries.CheckpointLockers(ctx, conn)

		return err
	})
	if err != nil {
		return fmt.Errorf("%w; its session is not known: %w", locked, err)
	}
	sessions := make([]session, len(rows))
	for i, row := range rows {
		sessions[i] = session{row.Pid, row.Role, row.Application}
	}

	return fmt.Errorf("%w; it is one of %v; end it if it stays", locked, sessions)
}

// session names a session of the server to people.
type session struct {
	pid               int32
	role, application string
}

func (s session) String() string {
	return fmt.Sprintf("pid %d (role %q, application %q)", s.pid, s.role, s.application)
}

package outbox

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/backoff"
	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

const (
	// batchRecords is how many records are read at once.
	batchRecords = 4000

	// grace is by how much longer than the producer may take a relay keeps its turn.
	grace = 5 * time.Second

	// silence is for how long a relay waits for the answer to a statement. A connection whose packets vanish gives none, and no error
	// for a quarter of an hour.
	silence = 30 * time.Second

	// tellInterval is how often trouble that lasts is told.
	tellInterval = time.Minute
)

var (
	databasePauses = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 5 * time.Second}
	topicPauses    = backoff.Exponential{Initial: 100 * time.Millisecond, Max: 5 * time.Second}
)

// Relay takes the records of the outbox to Kafka. Any number of relays can run, in one process or in many: they
// take turns, each of which is a transaction that holds a lock. So a relay that ends, however it ends,
// is replaced by the others at once.
type Relay struct {
	pool     *pgxpool.Pool
	producer Producer
	config   Config
	lockKey  int64

	cursor   cursor
	held     bool  // there may be failed or parked records; at its beginning a turn has this of the one before
	fit      int32 // how many records a portion is about to have
	lookBack time.Duration
	silence  time.Duration
	waiting  map[string]*waiting // topics that do not take records, or did not
	database onceper.Trouble

	delivered int64 // records, in all turns
}

// waiting is a topic to which nothing is sent for a while.
type waiting struct {
	until     time.Time
	failed    int   // times in a row
	delivered int64 // Relay.delivered, the last time
	trouble   onceper.Trouble
}

// NewRelay returns a Relay. It does no I/O. The relay uses one connection of the pool while it has its turn or waits for
// it. Errors wrap idem.ErrInvalidConfig.
func NewRelay(pool *pgxpool.Pool, producer Producer, config Config) (*Relay, error) {
	if pool == nil || producer == nil {
		return nil, fmt.Errorf("%w: a relay needs a pool and a producer", idem.ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}
	hash := sha256.Sum256([]byte("idem.outbox\x00" + config.Schema))

	return &Relay{
		pool: pool, producer: producer, config: config, cursor: fromTheBeginning(), fit: batchRecords, lookBack: lookBack, silence: silence, waiting: map[string]*waiting{},
		lockKey: int64(binary.BigEndian.Uint64(hash[:8])), //nolint:gosec // All 64 bits are meant.
	}, nil
}

// Run relays until ctx ends, and then returns nil. It waits for the records that are being produced, at most
// Config.ProduceTimeout. It rides out that Kafka or PostgreSQL are away. It returns an error if the tables are
// not there (idem.ErrNotMigrated), or if a right to them is missing. Call it once at a time.
func (r *Relay) Run(ctx context.Context) error {
	for failed := 0; ; {
		more, err := r.work(ctx)
		pause := r.config.Poll
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // It is asked to stop.
		case err != nil && isFinal(err):
			return err
		case err != nil:
			failed++
			pause = databasePauses.Pause(failed)
			if since, due := r.database.Lasts(tellInterval); due {
				r.config.Logger.WarnContext(ctx, "outbox: PostgreSQL does not let the relay work", "since", since.Round(time.Second), "error", err)
			}
		default:
			failed = 0
			if lasted, told := r.database.Passed(); told {
				r.config.Logger.InfoContext(ctx, "outbox: the relay works again", "after", lasted.Round(time.Second))
			}
			if more {
				continue
			}
		}
		if !backoff.Sleep(ctx, pause) {
			return nil
		}
	}
}

// isFinal reports whether somebody has to do something before another try can succeed: what the statements name is not there, or not
// allowed.
func isFinal(err error) bool {
	var pgErr *pgconn.PgError

	return errors.As(err, &pgErr) && !idem.IsTransient(err) && (pgErr.Code[:2] == "42" || pgErr.Code[:2] == "3F")
}

// work reports whether there may be more to do right now.
func (r *Relay) work(ctx context.Context) (more bool, err error) {
	quiet, err := r.isQuiet(ctx)
	if err == nil && !quiet {
		more, err = r.takeTurn(ctx)
	}
	if err != nil {
		r.cursor = fromTheBeginning()
	}

	return more && err == nil, err
}

// isQuiet reports whether no transaction has ended since the relay has read all, so that nothing can have been published. It is one
// statement, which touches no table. A connection on which it fails is closed, as one of a turn: it may be one to a server that takes no
// writes, or to a session of a pooler that has somebody else's prepared statements.
func (r *Relay) isQuiet(ctx context.Context) (bool, error) {
	if r.isDue() {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, r.silence)
	defer cancel()
	conn, err := r.pool.Acquire(ctx)
	if err != nil {
		return false, fmt.Errorf("outbox: relay: acquire a connection: %w", err)
	}
	defer conn.Release()
	now, err := queries.OutboxSnapshot(ctx, conn)
	if err != nil {
		_ = conn.Conn().Close(ctx)

		return false, fmt.Errorf("outbox: relay: ask for the snapshot: %w", err)
	}

	return r.cursor.isAt(now.Snapshot, now.Server), nil
}

// isDue reports whether the whole table is to be read again, be it because a topic is to be tried again.
func (r *Relay) isDue() bool {
	due := time.Since(r.cursor.started) > r.lookBack
	for _, w := range r.waiting {
		due = due || w.isDue()
	}

	return due
}

func (w *waiting) isDue() bool { return !w.until.IsZero() && !time.Now().Before(w.until) }

// lookAgain has the relay read the whole table again, with the topics that are to be tried again.
func (r *Relay) lookAgain() {
	for _, w := range r.waiting {
		if w.isDue() {
			w.until = time.Time{}
		}
	}
	r.cursor = r.cursor.again()
}

// away returns the topics to which nothing is sent now.
func (r *Relay) away() []string {
	topics := []string{} // nil would be null.
	for topic, w := range r.waiting {
		if !w.until.IsZero() {
			topics = append(topics, topic)
		}
	}

	return topics
}

// learn notes which topics take records and which do not in a turn that has delivered some, and tells it.
func (r *Relay) learn(ctx context.Context, d *delivery, delivered int) {
	before := r.delivered
	r.delivered += int64(delivered)
	for topic := range d.took {
		if d.waiting[topic] != nil {
			continue
		}
		lasted, told := r.waiting[topic].trouble.Passed()
		delete(r.waiting, topic)
		if told {
			r.config.Logger.InfoContext(ctx, "outbox: Kafka takes the records again", "topic", topic, "after", lasted.Round(time.Second))
		}
	}
	for _, topic := range slices.Sorted(maps.Keys(d.waiting)) {
		w := r.waiting[topic]
		if w == nil {
			w = &waiting{delivered: before}
			r.waiting[topic] = w
		}
		w.failed++
		pause := topicPauses.LongPause(w.failed)
		if r.delivered > w.delivered { // A try without an answer holds up the others, each time, for ProduceTimeout.
			pause = max(pause, 4*d.lasted)
		}
		w.until, w.delivered = time.Now().Add(pause), r.delivered
		if since, due := w.trouble.Lasts(tellInterval); due {
			r.config.Logger.WarnContext(ctx, "outbox: Kafka does not take the records of a topic", "topic", topic, "since", since.Round(time.Second), "error", d.waiting[topic])
		}
	}
}

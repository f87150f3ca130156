package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/await"
	"github.com/nova-events/idempotent-consumer/internal/logbuffer"
	"github.com/nova-events/idempotent-consumer/outbox"
)

// endTurn terminates the session of the relay that has its turn.
const endTurn = `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
	AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`

// once returns what the log has, each event the first time that it came. The same event has the same id.
func (b *bundle) once(t *testing.T) []string {
	t.Helper()
	ids := map[string]string{}
	var values []string
	for _, r := range b.log.records {
		value := string(r.Value)
		switch id, known := ids[value]; {
		case !known:
			ids[value] = eventID(r)
			values = append(values, value)
		case id != eventID(r):
			t.Errorf("%s came with the event ids %s and %s", value, id, eventID(r))
		}
	}

	return values
}

// A relay dies after Kafka has the records and before it has deleted them: another one sends them again, with the same
// event ids.
func TestRelayDiesBetweenProduceAndDelete(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published(t, numbered(1, 3, 1)...)
	var died sync.Once
	b.log.before = func() {
		died.Do(func() { b.exec(t, endTurn) })
	}
	b.start(t, nil)
	b.awaitEmpty(t)
	want(t, b.log.values(), "1", "2", "3", "1", "2", "3")
	want(t, b.once(t), "1", "2", "3")
}

// A relay that is frozen loses its turn. It finds out, and what it sends late are repetitions.
func TestFrozenRelayIsReplaced(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.published(t, numbered(1, 3, 1)...)
	frozen, thaw := make(chan struct{}), make(chan struct{})
	var others atomic.Bool
	b.log.before = func() {
		if !others.Swap(true) {
			close(frozen)
			<-thaw
		}
	}
	short := func(c *outbox.Config) { c.ProduceTimeout = time.Millisecond } // The turn lasts five seconds longer.
	var told logbuffer.Buffer
	b.start(t, func(c *outbox.Config) {
		short(c)
		c.Logger = slog.New(slog.NewTextHandler(&told, nil))
	})
	<-frozen
	b.published(t, numbered(4, 2, 1)...)
	b.start(t, short)
	release := sync.OnceFunc(func() { close(thaw) })
	t.Cleanup(release)
	b.awaitEmpty(t)
	want(t, b.log.values(), "1", "2", "3", "4", "5")
	await.Until(t, "the trouble in the log", func() bool { return strings.Contains(told.String(), "the Producer does not return") })
	release()
	b.await(t, 8)
	want(t, b.once(t), "1", "2", "3", "4", "5")
	b.published(t, numbered(6, 1, 1)...)
	b.awaitEmpty(t)
	want(t, b.once(t), "1", "2", "3", "4", "5", "6")
}

// Relays take turns: two at a time would both send each record.
func TestRelaysTakeTurns(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for range 3 {
		b.start(t, nil)
	}
	for i := range 200 {
		b.published(t, numbered(i, 1, 1)...)
	}
	b.awaitEmpty(t)
	if got := b.log.len(); got != 200 {
		t.Errorf("200 records came %d times", got)
	}
}

// Writers that lock the row of a key before they publish, and some that do not, with relays whose sessions are terminated
// all the time: nothing is lost, and each key keeps its order.
func TestOrderOfKeysWithConcurrentWriters(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const keys, writers, rounds = 5, 6, 60
	b.exec(t, `CREATE TABLE public.accounts (key int PRIMARY KEY, version int NOT NULL DEFAULT 0)`)
	b.exec(t, `INSERT INTO public.accounts SELECT generate_series(0, $1 - 1)`, keys)
	relays := &bundle{db: b.db, log: b.log, pool: b.db.Pool(t)} // A session that is terminated a little late is never a writer's.
	for range 2 {
		relays.start(t, func(c *outbox.Config) { c.MaxBytes = 2_000 })
	}
	var others atomic.Int64
	var all sync.WaitGroup
	for w := range writers {
		all.Go(func() {
			random := rand.New(rand.NewPCG(uint64(w), 7))
			for range rounds {
				err := pgx.BeginFunc(t.Context(), b.pool, func(tx pgx.Tx) error {
					if random.IntN(2) == 0 { // It gets its number before it waits.
						if err := outbox.Publish(t.Context(), tx, record("other", "other "+strconv.FormatInt(others.Add(1), 10))); err != nil {
							return err
						}
					}
					key := random.IntN(keys)
					var version int
					if err := tx.QueryRow(t.Context(), `UPDATE public.accounts SET version = version + 1 WHERE key = $1 RETURNING version`, key).Scan(&version); err != nil {
						return err
					}

					return outbox.Publish(t.Context(), tx, record(strconv.Itoa(key), fmt.Sprint(key, " ", version)))
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	written := make(chan struct{})
	go func() {
		all.Wait()
		close(written)
	}()
	for killing := true; killing; {
		select {
		case <-written:
			killing = false
		case <-time.After(20 * time.Millisecond): // How often is all that it decides.
			b.exec(t, endTurn)
		}
	}
	b.awaitEmpty(t)

	versions := make(map[string]int)
	for _, value := range b.once(t) {
		var key string
		var version int
		if _, err := fmt.Sscan(value, &key, &version); err != nil {
			t.Fatal(err)
		}
		if key != "other" && version != versions[key]+1 {
			t.Errorf("version %d of key %s came after %d", version, key, versions[key])
		}
		versions[key]++
		if key != "other" {
			versions[key] = version
		}
	}
	sum := 0
	for _, n := range versions {
		sum += n
	}
	if want := writers*rounds + int(others.Load()); sum != want {
		t.Errorf("%d records came, want %d", sum, want)
	}
}

var errTooLarge = fmt.Errorf("%w: too large", outbox.ErrRefused)

// A record that Kafka refuses parks what follows of its key, in the same portion and in later ones; other keys go on. Then it is
// discarded, or tried again.
func TestRefusedRecordParksItsKey(t *testing.T) {
	t.Parallel()
	for _, decision := range []string{"discard", "retry"} {
		t.Run(decision, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.log.refuse = func(r outbox.Record) error {
				if string(r.Value) == "2" {
					return errTooLarge
				}

				return nil
			}
			b.start(t, nil)
			b.published(t, record("a", "1"), record("a", "2"), record("b", "3"), record("a", "4"), outbox.Record{Topic: "orders", Value: []byte("5")})
			await.Until(t, "a failed record", func() bool { return b.count(t, `state IS NULL`) == 0 })
			b.published(t, record("b", "6"), record("a", "7"))
			await.Until(t, "parked records", func() bool {
				return b.count(t, `state = 'parked'`) == 2 && b.count(t, `state = 'failed' AND error LIKE '%too large'`) == 1
			})
			want(t, b.log.values(), "1", "3", "5", "6")

			b.log.set(func(l *topicLog) { l.refuse = nil })
			b.exec(t, `UPDATE idem.outbox SET state = $1 WHERE state = 'failed'`, decision)
			b.awaitEmpty(t)
			if decision == "discard" {
				want(t, b.log.values(), "1", "3", "5", "6", "4", "7")
			} else {
				want(t, b.log.values(), "1", "3", "5", "6", "2", "4", "7")
			}
		})
	}
}

// A record is refused for a reason that is no text, or endless. What Kafka has of its turn is not sent again.
func TestRefusedForAReasonThatIsNoText(t *testing.T) {
	t.Parallel()
	for what, reason := range map[string]string{"no UTF-8": "\xff", "NUL": "a\x00b", "long": strings.Repeat("x", 1<<20)} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			b := setup(t)
			b.log.refuse = func(r outbox.Record) error {
				if string(r.Value) == "1" {
					return fmt.Errorf("%w: %s", outbox.ErrRefused, reason)
				}

				return nil
			}
			b.published(t, numbered(0, 3, 3)...)
			b.start(t, nil)
			await.Until(t, "a failed record", func() bool { return b.log.len() > 2 || b.count(t, `state = 'failed'`) == 1 })
			want(t, b.log.values(), "0", "2")
			if n := b.count(t, `octet_length(error) > 20000`); n > 0 {
				t.Error("the reason was stored whole")
			}
		})
	}
}

// A relay whose turn ends before all is sent that it has released is followed by another one, which has passed those records
// when they were held. What is published meanwhile does not overtake them.
func TestReleasedRecordsAreNotOvertaken(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log.refuse = func(r outbox.Record) error {
		if string(r.Value) == "0" {
			return errTooLarge
		}

		return nil
	}
	for range 2 {
		b.start(t, small)
	}
	b.published(t, numbered(0, 40, 1)...)
	await.Until(t, "parked records", func() bool { return b.count(t, `state = 'parked'`) == 39 })
	for i := range 20 { // Both relays pass them.
		b.published(t, record("other", "other "+strconv.Itoa(i)))
		b.await(t, i+1)
	}
	var once sync.Once
	b.log.set(func(l *topicLog) {
		l.refuse, l.records = nil, nil
		l.before = func() {
			once.Do(func() { b.published(t, numbered(40, 1, 1)...) })
			time.Sleep(60 * time.Millisecond) //nolint:forbidigo // A turn has two portions then, of four records.
		}
	})
	b.exec(t, `UPDATE idem.outbox SET state = 'retry' WHERE state = 'failed'`)
	b.awaitEmpty(t)
	wanted := make([]string, 41)
	for i := range wanted {
		wanted[i] = strconv.Itoa(i)
	}
	want(t, b.log.values(), wanted...)
}

// A decision about a failed record also releases what is parked behind it after the decision, by a relay that did not
// know of it yet.
func TestDecisionWhileARecordIsParked(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.log.refuse = func(r outbox.Record) error {
		if string(r.Value) == "1" {
			return errTooLarge
		}

		return nil
	}
	b.start(t, nil)
	b.published(t, record("a", "1"))
	await.Until(t, "a failed record", func() bool { return b.count(t, `state = 'failed'`) == 1 })
	var once sync.Once
	b.log.set(func(l *topicLog) {
		l.before = func() {
			once.Do(func() { b.exec(t, `UPDATE idem.outbox SET state = 'discard' WHERE state = 'failed'`) })
		}
	})
	b.published(t, record("b", "2"), record("a", "3"))
	b.awaitEmpty(t)
	want(t, b.log.values(), "2", "3")
}

// Run ends when it is asked to, and when the tables are not there.
func TestRunWithoutTables(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `DROP TABLE idem.outbox`)
	relay, err := outbox.NewRelay(b.pool, b.log, outbox.Config{})
	if err != nil {
		t.Fatal(err)
	}
	if err := relay.Run(context.Background()); err == nil {
		t.Error("Run returned nil")
	}
}

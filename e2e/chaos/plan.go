package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
)

// plan is all that the seed decides.
type plan struct {
	settings

	pgBouncer  bool
	forgetful  bool // PostgreSQL does not wait until a commit is written
	partitions int
	workers    int
	protocol   string
	promise    promise
	faults     []fault // by the time at which they come
}

// fault is one that the nemesis causes.
type fault struct {
	at     time.Duration
	kind   string
	domain string // faults of one domain come one after the other
	pick   uint64 // decides who is struck, how hard and how long
}

// Protocols of the group, with the adapters that speak them.
const (
	eager       = "eager"
	cooperative = "cooperative"
	server      = "server" // KIP-848

	kafkaGo     = "kafka-go"
	franzEager  = "franz-eager"
	franz       = "franz"
	franzServer = "franz-server"
)

var (
	protocols = []string{eager, cooperative, server}
	adapters  = map[string][]string{eager: {kafkaGo, franzEager}, cooperative: {franz}, server: {franzServer, franzServer, kafkaGo}}
)

// Forms of handlers.
const (
	ownTransactions = "own transactions"
	shared          = "shared transactions"
	lanes           = "lanes"
	queue           = "queue"
	batches         = "batches"
)

// forms are those that can keep a promise.
func (p promise) forms() []string {
	switch {
	case p.Mode == consume.ByEventID:
		return []string{ownTransactions, lanes}
	case p.Mode == consume.ByCheckpoint || p.Parks:
		return []string{ownTransactions, shared, queue, batches}
	default:
		return []string{ownTransactions, shared, lanes, queue, batches}
	}
}

// promise is what all workers of a run have to promise alike.
type promise struct {
	Mode  consume.Mode `json:"mode"`
	Parks bool         `json:"parks"` // records behind a dead letter of their key
}

func (p promise) String() string {
	text := map[consume.Mode]string{
		consume.ByEventIDAndCheckpoint: "by event id and checkpoint", consume.ByEventID: "by event id", consume.ByCheckpoint: "by checkpoint",
	}[p.Mode]
	if p.Parks {
		text += ", keys parked"
	}

	return text
}

// asks tells whether a fault asks for no more than was promised. By event id alone nobody notices that the database has
// lost commits, or Kafka records, and by checkpoint alone a record that an operator wants again takes effect again.
func (p promise) asks(kind string) bool {
	switch kind {
	case failover, forget, lockCheckpoints, elect:
		return p.Mode != consume.ByEventID
	case resetBack:
		return p.Mode == consume.ByEventIDAndCheckpoint
	case recreate: // Its records are in the same places again.
		return p.Mode != consume.ByCheckpoint
	default:
		return true
	}
}

// Manners of handlers: what they do at times.
const (
	behaves   = "behaves"
	sorts     = "sorts"
	filters   = "filters"
	keeps     = "keeps"
	panics    = "panics"
	fallible  = "fails"
	transient = "fails for others"
	swallows  = "swallows errors"
	slow      = "is slow"
	waits     = "waits on the pool"
	deadlocks = "deadlocks"
)

var (
	manners      = []string{behaves, panics, fallible, transient, swallows, slow, waits, deadlocks}
	batchManners = append([]string{sorts, filters, keeps}, manners...)
	modes        = []consume.Mode{consume.ByCheckpoint, consume.ByEventID, consume.ByEventIDAndCheckpoint, consume.ByEventIDAndCheckpoint}
	isolations   = []pgx.TxIsoLevel{"", "", pgx.RepeatableRead, pgx.Serializable}
)

// character is what a worker is like.
type character struct {
	Adapter     string `json:"adapter"`
	Form        string `json:"form"`
	Manner      string `json:"manner"`
	Isolation   string `json:"isolation"`
	Connections int32  `json:"connections"`
	MaxBytes    int    `json:"max_bytes"`
	Next        bool   `json:"next"` // release
}

func (c character) String() string {
	text := fmt.Sprintf("%s, %s, %s, %s, %d connections", c.Adapter, c.Form, c.Manner, cmp.Or(c.Isolation, "read committed"), c.Connections)
	if c.Next {
		text += ", next release"
	}

	return text
}

// kinds are the faults of a domain.
type kinds struct {
	pause time.Duration // between two of them, on average
	names []string
}

var domains = map[string]kinds{
	"workers":  {3 * time.Second, []string{kill, kill, kill, kill, dismiss, dismiss, join, join, change, convert}},
	"freezer":  {6 * time.Second, []string{freeze}},
	"database": {5 * time.Second, []string{restart, failover, failover, forget, fullDisk}},
	"commits":  {300 * time.Millisecond, []string{cutBefore, cutBehind, cutAt}},
	"sessions": {800 * time.Millisecond, []string{terminate, cutAll, lockCheckpoints, lockStock}},
	"network":  {2 * time.Second, []string{refuse, pgLatency, pgStall, killBouncer}},
	"kafka":    {5 * time.Second, []string{killBroker, restartBroker, moveLeaders}},
	"log":      {time.Minute, []string{elect}},
	"releases": {10 * time.Second, []string{migrateUp}},
	"brokers":  {3 * time.Second, []string{cutBroker, kafkaLatency, kafkaStall, limitClients}},
	"topics":   {8 * time.Second, []string{addPartition, recreate, recreate}},
	"producer": {5 * time.Second, []string{haunt}},
	"clocks":   {2 * time.Second, []string{stepClock}},
	"pools":    {3 * time.Second, []string{exhaust}},
	"operator": {2 * time.Second, []string{pauseGroup, resetBack, replayLetters, cleanUp}},
}

// from makes what a part of the plan is drawn from: another part changes nothing of it.
func (s settings) from(part string) *rand.Rand {
	var stream uint64
	for _, b := range []byte(part) {
		stream = stream*31 + uint64(b)
	}

	return rand.New(rand.NewPCG(s.seed, stream)) //nolint:gosec // It is no secret.
}

func one[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

func newPlan(s settings) (plan, error) {
	only, err := regexp.Compile(s.only)
	if err != nil {
		return plan{}, fmt.Errorf("-only: %w", err)
	}
	r := s.from("setup")
	p := plan{
		settings: s, pgBouncer: r.IntN(2) == 0, forgetful: r.IntN(2) == 0,
		partitions: 3 + r.IntN(4), workers: 3 + r.IntN(2), protocol: one(r, protocols),
		promise: promise{Mode: one(r, modes), Parks: r.IntN(4) == 0},
	}
	if p.promise.Mode == consume.ByEventID {
		p.forgetful, p.promise.Parks = false, false
	}
	for name, domain := range domains {
		r := s.from(name)
		for at := time.Duration(0); ; {
			at += domain.pause/4 + time.Duration(r.ExpFloat64()*float64(domain.pause)*3/4)
			if at > s.duration {
				break
			}
			f := fault{at: at, kind: one(r, domain.names), domain: name, pick: r.Uint64()}
			if only.MatchString(f.kind) && p.promise.asks(f.kind) && (f.kind != forget || p.forgetful) && (f.kind != killBouncer || p.pgBouncer) && (f.kind != stepClock || p.clocks) {
				p.faults = append(p.faults, f)
			}
		}
	}
	slices.SortStableFunc(p.faults, func(a, b fault) int { return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.domain, b.domain)) })

	return p, nil
}

// has tells whether a kind of faults comes.
func (p plan) has(kind string) bool {
	return slices.ContainsFunc(p.faults, func(f fault) bool { return f.kind == kind })
}

// character draws what the nth worker is like.
func (p plan) character(n int, protocol string) character {
	r := p.from(fmt.Sprint("worker ", n))
	c := character{
		Adapter: one(r, adapters[protocol]), Form: one(r, p.promise.forms()), Manner: one(r, manners),
		Isolation: string(one(r, isolations)), Connections: int32(6 + r.IntN(6)), MaxBytes: one(r, []int{1, 4 << 10, 1 << 20}), //nolint:gosec // It is small.
	}
	if c.Form == batches {
		c.Manner = one(r, batchManners)
	}
	c.Next = r.IntN(2) == 0

	return c
}

// String is what the run is made of.
func (p plan) String() string {
	return fmt.Sprintf("seed %d: %d partitions, %d workers in a group that is %s, %v, PgBouncer %v, synchronous_commit %v, %d faults in %v",
		p.seed, p.partitions, p.workers, p.protocol, p.promise, p.pgBouncer, !p.forgetful, len(p.faults), p.duration)
}

// schedule is a line for each fault.
func (p plan) schedule() string {
	var text strings.Builder
	for _, f := range p.faults {
		fmt.Fprintf(&text, "%7.2fs %s (%x)\n", f.at.Seconds(), f.kind, f.pick)
	}

	return text.String()
}

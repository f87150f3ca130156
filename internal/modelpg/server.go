package modelpg

import (
	"context"
	"net"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Server is the database and its sessions.
type Server struct {
	// Faults decides what becomes of an exchange, before it begins. nil: nothing does.
	Faults func(e Exchange) Fault

	running sync.WaitGroup // sessions

	mu          sync.Mutex
	down        bool
	sessions    map[int32]*session
	pids        int32
	advisory    map[int64]*lock
	records     map[string]*lock // the unique keys of dead letters
	consumers   table[int64, consumer]
	checkpoints table[place, checkpoint]
	events      table[eventKey, event]
	letters     table[letterKey, letter]
	effects     []Effect
	commits     [][]func()      // how to undo each, in their order
	reached     map[place]int64 // by checkpoints, whether or not that was lost since
}

// Exchange is what travels to the server together, until the client waits for the answer.
type Exchange struct {
	Client string   // application_name of the session
	Names  []string // of the statements
	Args   []string // of the last one
}

// Fault is what becomes of an exchange. The zero value is that it is executed at once.
type Fault struct {
	Before, After time.Duration // on the way there and back
	Cut           Cut
	Refuse        string // SQLSTATE of the error that the last statement gets instead of being executed
}

// Cut is where a connection is lost.
type Cut uint8

// The places.
const (
	NoCut Cut = iota
	CutBefore
	CutAfter
	CutMeanwhile // the client loses it at once, the server executes what it was sent After that
)

// NewServer returns a server with empty tables.
func NewServer() *Server {
	return &Server{
		sessions: make(map[int32]*session), advisory: make(map[int64]*lock), records: make(map[string]*lock), consumers: make(table[int64, consumer]),
		checkpoints: make(table[place, checkpoint]), events: make(table[eventKey, event]), letters: make(table[letterKey, letter]),
		reached: make(map[place]int64),
	}
}

// Dial is a pgconn.DialFunc.
func (s *Server) Dial(context.Context, string, string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.down {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: syscall.ECONNREFUSED}
	}
	client, own := net.Pipe()
	s.pids++
	n := &session{server: s, conn: own, pid: s.pids, inbox: newInbox(own)}
	n.statement, n.cancel = context.WithCancel(context.Background())
	s.running.Go(n.inbox.fill)
	s.running.Go(n.run)

	return client, nil
}

// Stop ends all sessions and refuses new ones until Start.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
	for _, n := range s.inOrder() {
		n.end("terminating connection due to administrator command")
	}
}

// Start lets clients connect again.
func (s *Server) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = false
}

// Wait waits until all sessions have ended.
func (s *Server) Wait() { s.running.Wait() }

// Terminate ends the sessions of a client (application_name).
func (s *Server) Terminate(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, n := range s.inOrder() {
		if n.client == client {
			n.end("terminating connection due to administrator command")
		}
	}
}

func (s *Server) inOrder() []*session {
	var all []*session
	for _, n := range s.sessions {
		all = append(all, n)
	}
	slices.SortFunc(all, func(a, b *session) int { return int(a.pid - b.pid) })

	return all
}

// Rewind loses the latest commits, as a failover to a standby does that has not got them. The server must be
// stopped. It returns how many were lost.
func (s *Server) Rewind(commits int) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	commits = min(commits, len(s.commits))
	for range commits {
		last := len(s.commits) - 1
		for _, undo := range slices.Backward(s.commits[last]) {
			undo()
		}
		s.commits = s.commits[:last]
	}

	return commits
}

// Commits is how many there are.
func (s *Server) Commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()

	return len(s.commits)
}

// Effects are what handlers have written, in the order of the commits.
func (s *Server) Effects() []Effect {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.Clone(s.effects)
}

// Checkpoint is how far a partition is processed, and how far it ever was, whatever was lost since; -1 if it has no
// checkpoint.
func (s *Server) Checkpoint(topic string, partition int32) (next, ever int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	next, ever = -1, -1
	for key, r := range s.checkpoints {
		if key.topic == topic && key.partition == int64(partition) && key.lane == 0 {
			ever = s.reached[key]
			if r.committed != nil {
				next = r.committed.next
			}
		}
	}

	return next, ever
}

// Waits reports whether a session of a client (application_name) waits for a lock.
func (s *Server) Waits(client string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()

	return slices.ContainsFunc(s.inOrder(), func(n *session) bool { return n.client == client && n.tx != nil && n.tx.waitsFor != nil })
}

// Claimed reports whether a key is claimed.
func (s *Server) Claimed(key string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for at, r := range s.events {
		if at.key == key && r.committed != nil {
			return true
		}
	}

	return false
}

// DeadLetter is one of the table's.
type DeadLetter struct {
	Partition int32
	Offset    int64
	State     string
	Error     string
}

// DeadLetters are all of them, in the order of their places.
func (s *Server) DeadLetters() []DeadLetter {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []DeadLetter
	for _, r := range s.letters {
		if l := r.committed; l != nil {
			all = append(all, DeadLetter{int32(l.partition), l.offset, l.state, l.failure}) //nolint:gosec // It was one.
		}
	}
	slices.SortFunc(all, func(a, b DeadLetter) int {
		return int(int64(a.Partition-b.Partition)<<40 + a.Offset - b.Offset)
	})

	return all
}

// Replay requests the replay of all open dead letters, as "idemctl deadletter replay" does, and returns how many.
func (s *Server) Replay() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	var undo []func()
	for _, r := range s.letters {
		if l := r.committed; l != nil && l.state == "open" && r.exclusive == nil {
			due := *l
			due.state = "replay"
			r.committed = &due
			undo = append(undo, func() { r.committed = l })
		}
	}
	if len(undo) > 0 {
		s.commits = append(s.commits, undo)
	}

	return len(undo)
}

// Pause pauses all consumers, or resumes them.
func (s *Server) Pause(pause bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.consumers {
		if r.committed != nil {
			c := *r.committed
			c.isPaused, c.pausedAt, c.pausedBy, c.pauseReason = pause, time.Now().UnixMicro(), "operator", "simulated"
			r.committed = &c
		}
	}
}

// Forget deletes the claims, as the cleanup does once the retention is over.
func (s *Server) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.events {
		if r.exclusive == nil {
			r.committed = nil
		}
	}
}

func (s *Server) advisoryLock(key int64) *lock {
	l := s.advisory[key]
	if l == nil {
		l = new(lock)
		s.advisory[key] = l
	}

	return l
}

// recordLock is held by who inserts a dead letter of a record.
func (s *Server) recordLock(record string) *lock {
	l := s.records[record]
	if l == nil {
		l = new(lock)
		s.records[record] = l
	}

	return l
}

func text[T int | int32 | int64](n T) *string {
	formatted := strconv.FormatInt(int64(n), 10)

	return &formatted
}

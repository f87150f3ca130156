package idemtest

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// probe stands between a handler and whoever calls it.
type probe struct {
	// look returns what is committed in the database. nil: nobody looks.
	look func() (contents, error)

	// fails is the number of the statement that fails, counted from 1; 0: none.
	fails int

	mu         sync.Mutex
	statements int
	found      []string // what handlers did that they must not
}

// findf notes what a handler did that it must not.
func (p *probe) findf(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.found = append(p.found, fmt.Sprintf(format, args...))
}

// first is the first thing that was found; "" is nothing.
func (p *probe) first() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.found) == 0 {
		return ""
	}

	return p.found[0]
}

// sent is how many statements handlers have sent through tx.
func (p *probe) sent() int {
	p.mu.Lock()
	defer p.mu.Unlock()

	return p.statements
}

// next counts a statement, and reports whether it is to fail.
func (p *probe) next() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.statements++

	return p.statements == p.fails
}

// handler is fn with the probe in front of it. name is the event's.
func (p *probe) handler(name string, fn idem.Handler) idem.Handler {
	return func(ctx context.Context, tx pgx.Tx) error {
		return p.call(name, tx, func(tx pgx.Tx) error { return fn(ctx, tx) })
	}
}

// call calls a handler and looks at what it does. tx is nil if it gets none.
func (p *probe) call(name string, tx pgx.Tx, fn func(tx pgx.Tx) error) error {
	before, err := p.read()
	if err != nil {
		return err
	}
	if tx == nil {
		err = fn(nil)
	} else {
		turn := &turn{probe: p, name: name}
		err = fn(probedTx{Tx: tx, turn: turn})
		turn.end(tx, err)
	}
	after, readErr := p.read()
	if readErr != nil {
		return readErr
	}
	if what := written(before, after); what != "" {
		p.findf("the handler of %s wrote outside its transaction: %s; write through tx", name, what)
	}

	return err
}

func (p *probe) read() (contents, error) {
	if p.look == nil {
		return nil, nil //nolint:nilnil // Nobody looks, and nothing was written.
	}

	return p.look()
}

// turn is one run of a handler.
type turn struct {
	probe *probe
	name  string

	mu     sync.Mutex
	ended  bool
	failed string // the statement that was made to fail
}

// end looks at how a handler leaves its transaction.
func (t *turn) end(tx pgx.Tx, err error) {
	t.mu.Lock()
	t.ended = true
	failed := t.failed
	t.mu.Unlock()
	conn := tx.Conn()
	if err != nil || conn.IsClosed() || conn.PgConn().IsBusy() || conn.PgConn().TxStatus() != 'E' {
		return
	}
	if failed != "" {
		t.probe.findf("the handler of %s returned nil although a statement had failed: %s; return the error, or run what may fail in a savepoint (tx.Begin)", t.name, failed)
	} else {
		t.probe.findf("the handler of %s returned nil although a statement had failed and aborted the transaction; return the error, or run what may fail in a savepoint (tx.Begin)", t.name)
	}
}

// failure is SQL that fails as a duplicate key does, which handlers are tempted to overlook.
const failure = `DO $$ BEGIN RAISE unique_violation USING MESSAGE = 'idemtest makes this statement fail'; END $$`

// begin is called before each statement. It returns an error if the handler has returned, and true if the
// statement is to fail.
func (t *turn) begin(sql string) (fails bool, err error) {
	if err := t.going(sql); err != nil {
		return false, err
	}
	if !t.probe.next() {
		return false, nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed = brief(sql)

	return true, nil
}

// going returns an error if the handler has returned.
func (t *turn) going(sql string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.ended {
		return nil
	}
	t.probe.findf("the handler of %s used tx after it had returned: %s; end goroutines before, and keep no tx", t.name, brief(sql))

	return fmt.Errorf("idemtest: the handler of %s has returned; do not use its tx after that", t.name)
}

// brief is SQL in one line, its beginning.
func brief(sql string) string {
	const most = 100
	line := []rune(strings.Join(strings.Fields(sql), " "))
	if len(line) > most {
		return string(line[:most]) + "…"
	}

	return string(line)
}

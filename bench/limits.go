package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
)

// limits are what the guard's speed is compared with: the same statements without it.
type limits struct {
	pgbench string // path; empty if there is none
	version string
	claim   statement
}

// statement is one that the guard sends, as it sends it.
type statement struct {
	sql  string
	args []any
	key  uuid.UUID // of the event that the arguments are about
}

// findLimits looks for pgbench and at what ProcessIfNew sends.
func findLimits(ctx context.Context, d *database) (*limits, error) {
	l := &limits{}
	folder, err := d.text(ctx, "SELECT setting FROM pg_config WHERE name = 'BINDIR'")
	if err != nil {
		return nil, err
	}
	for _, candidate := range []string{filepath.Join(folder, pgbenchName), pgbenchName} {
		if l.pgbench, err = exec.LookPath(candidate); err == nil {
			break
		}
	}
	if l.pgbench != "" {
		version, err := exec.CommandContext(ctx, l.pgbench, "--version").Output() //nolint:gosec // It was found above.
		if err != nil {
			return nil, fmt.Errorf("%s: %w", l.pgbench, err)
		}
		l.version = strings.TrimSpace(string(version))
	}
	if l.claim, err = observeClaim(ctx, d); err != nil {
		return nil, err
	}

	return l, nil
}

// observeClaim has ProcessIfNew process an event and takes down its claim.
func observeClaim(ctx context.Context, d *database) (statement, error) {
	w := &witness{}
	pool, err := d.pool(ctx, 1, w)
	if err != nil {
		return statement{}, err
	}
	defer pool.Close()
	guard, err := newGuard(ctx, &job{pool: pool})
	if err != nil {
		return statement{}, err
	}
	id := uuid.New()
	w.statements = nil
	if _, err := guard.MarkProcessed(ctx, id.String()); err != nil {
		return statement{}, fmt.Errorf("process an event: %w", err)
	}
	for _, seen := range w.statements {
		if strings.Contains(seen.sql, "idem.processed_events") {
			seen.key = idem.Key(id.String())

			return seen, nil
		}
	}

	return statement{}, errors.New("ProcessIfNew was not seen to claim an event")
}

// witness takes down what is sent.
type witness struct {
	mu         sync.Mutex
	statements []statement
}

func (w *witness) note(sql string, args []any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.statements = append(w.statements, statement{sql: sql, args: args})
}

func (w *witness) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	w.note(data.SQL, data.Args)

	return ctx
}

func (*witness) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

func (*witness) TraceBatchStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceBatchStartData) context.Context {
	return ctx
}

func (w *witness) TraceBatchQuery(_ context.Context, _ *pgx.Conn, data pgx.TraceBatchQueryData) {
	w.note(data.SQL, data.Args)
}

func (*witness) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData) {}

// pgxSubject sends what ProcessIfNew sends, by pgx alone, as short as can be.
func (l *limits) pgxSubject(workers int) subject {
	return subject{name: pgxName, workers: workers, size: 1, open: func(_ context.Context, j *job) (processor, func(), error) {
		return func(ctx context.Context, _ int, events []event) error {
			for _, e := range events {
				if err := l.processOne(ctx, j, e); err != nil {
					return err
				}
			}

			return nil
		}, nothing, nil
	}}
}

func (l *limits) processOne(ctx context.Context, j *job, e event) error {
	conn, err := j.pool.Acquire(ctx)
	if err != nil {
		return fmt.Errorf("acquire a connection: %w", err)
	}
	defer conn.Release()
	batch := &pgx.Batch{}
	batch.Queue("begin")
	batch.Queue(l.claim.sql, l.claim.with(idem.Key(e.ID))...)
	if err := conn.SendBatch(ctx, batch).Close(); err != nil {
		return fmt.Errorf("claim: %w", err)
	}
	if _, err := conn.Exec(ctx, businessOne, e.ID, e.Account, e.Amount); err != nil {
		return fmt.Errorf("business write: %w", err)
	}
	if _, err := conn.Exec(ctx, "commit"); err != nil {
		return fmt.Errorf("commit: %w", err)
	}

	return nil
}

// with returns the arguments for another event.
func (s statement) with(key uuid.UUID) []any {
	args := slices.Clone(s.args)
	for i := range args {
		switch {
		case s.isKey(i):
			args[i] = key.String()
		case s.isClaim(i):
			args[i] = uuid.NewString()
		}
	}

	return args
}

// isKey reports whether an argument is the event's key.
func (s statement) isKey(i int) bool { return s.args[i] == s.key.String() }

// isClaim reports whether an argument is the claim's own id.
func (s statement) isClaim(i int) bool {
	text, ok := s.args[i].(string)

	return ok && !s.isKey(i) && uuid.Validate(text) == nil
}

// scratch is a file that is removed by the function.
func scratch(pattern, content string) (string, func(), error) {
	file, err := os.CreateTemp("", pattern)
	if err != nil {
		return "", nil, fmt.Errorf("create a temporary file: %w", err)
	}
	remove := func() { _ = os.Remove(file.Name()) }
	_, err = file.WriteString(content)
	if err = errors.Join(err, file.Close()); err != nil {
		remove()

		return "", nil, fmt.Errorf("write a temporary file: %w", err)
	}

	return file.Name(), remove, nil
}

package pgserver

import (
	"context"
	"fmt"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// recoverTimeout bounds a crash recovery.
const recoverTimeout = time.Minute

// Forgetful are settings with which a crash loses commits: COMMIT does not wait until it is
// written, and nothing but the WAL writer writes it soon. See HoldWAL.
func Forgetful() map[string]string {
	return map[string]string{
		"synchronous_commit":    off,
		"wal_buffers":           "64MB", // What is held has to fit.
		"autovacuum":            off,
		"bgwriter_lru_maxpages": "0",
		"checkpoint_timeout":    "1d",
	}
}

// HoldWAL stops the WAL writer of a server with Forgetful settings: what is committed before is
// written when HoldWAL is called, what is committed after it has returned is in memory only.
func (s *Server) HoldWAL(ctx context.Context) error {
	// Stopped first: a commit in between is written by the checkpoint.
	pid, err := s.walWriter(ctx)
	if err != nil {
		return fmt.Errorf("pgserver: find the WAL writer: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return fmt.Errorf("pgserver: stop the WAL writer: %w", err)
	}
	err = s.connected(ctx, func(conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, "CHECKPOINT")

		return err
	})
	if err != nil {
		return fmt.Errorf("pgserver: write all commits: %w", err)
	}

	return nil
}

// LoseWAL kills the WAL writer that HoldWAL has stopped, as a kernel that is out of memory does
// to some process. PostgreSQL ends all its processes, and recovers without what they had in
// memory. LoseWAL returns when it is back.
func (s *Server) LoseWAL(ctx context.Context) error {
	pid, err := s.walWriter(ctx)
	if err != nil {
		return fmt.Errorf("pgserver: find the WAL writer: %w", err)
	}
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("pgserver: kill the WAL writer: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, recoverTimeout)
	defer cancel()
	if err := s.await(ctx, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'walwriter' AND pid <> $1", pid); err != nil {
		return fmt.Errorf("pgserver: wait for the recovery: %w", err)
	}

	return nil
}

func (s *Server) walWriter(ctx context.Context) (pid int, err error) {
	return query[int](ctx, s, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'walwriter'")
}

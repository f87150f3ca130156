package pgserver

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

const pollInterval = 10 * time.Millisecond

// connected calls use with a connection to the server.
func (s *Server) connected(ctx context.Context, use func(*pgx.Conn) error) error {
	conn, err := pgx.Connect(ctx, s.DSN("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx) //nolint:errcheck // use has told.

	return use(conn)
}

// query returns the only value of a query's only row.
func query[T any](ctx context.Context, s *Server, sql string, args ...any) (value T, err error) {
	err = s.connected(ctx, func(conn *pgx.Conn) error {
		return conn.QueryRow(ctx, sql, args...).Scan(&value)
	})

	return value, err
}

// await repeats a query until it answers true. The server may be away meanwhile.
func (s *Server) await(ctx context.Context, sql string, args ...any) error {
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		happened, err := query[bool](ctx, s, sql, args...)
		if happened {
			return nil
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return errors.Join(context.Cause(ctx), err)
		}
	}
}

package pgserver

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// catchUpTimeout bounds how long a standby may take to receive what the primary has.
const catchUpTimeout = time.Minute

// Pair is a primary and a standby that receives its commits by streaming replication, behind
// one address that leads to whichever is the primary. The replication is asynchronous:
// what the standby has not received when the primary dies is lost.
type Pair struct {
	Primary, Standby *Server

	clients *relay // leads to the primary
	stream  *relay // leads the standby to the primary

	promoted bool // the standby is the primary now
}

// StartPair creates and starts a primary and its standby. See Start.
func StartPair(ctx context.Context, cfg Config) (*Pair, error) {
	p := &Pair{}
	if err := p.start(ctx, cfg); err != nil {
		return nil, errors.Join(fmt.Errorf("pgserver: %w", err), p.Stop())
	}

	return p, nil
}

// start makes the standby of a copy of the primary's data folder. The primary has not run yet:
// it has created no WAL that the standby could miss, so no tool to back up a running server is
// needed. The downloaded binaries have none.
func (p *Pair) start(ctx context.Context, cfg Config) (err error) {
	if p.clients, err = newRelay(ctx); err != nil {
		return err
	}
	if p.stream, err = newRelay(ctx); err != nil {
		return err
	}
	if p.Primary, err = create(ctx, cfg); err != nil {
		return err
	}
	if p.Standby, err = p.Primary.copy(ctx, cfg); err != nil {
		return err
	}
	if err := p.Standby.follow(p.stream.address()); err != nil {
		return err
	}
	if err := p.Primary.launchOnFreePort(ctx); err != nil {
		return err
	}
	p.clients.aim(p.Primary.address())
	p.stream.aim(p.Primary.address())

	return p.Standby.launchOnFreePort(ctx)
}

// DSN is Server.DSN of the server that is the primary now: clients need not know of a failover.
func (p *Pair) DSN(database string) string {
	return p.Primary.dsnAt(p.clients.address(), database)
}

// Cut ends the replication. The standby has all that was committed before Cut is called, and
// nothing that is committed after Cut has returned.
func (p *Pair) Cut(ctx context.Context) error {
	if err := p.catchUp(ctx); err != nil {
		return fmt.Errorf("pgserver: wait for the standby to receive all commits: %w", err)
	}
	p.stream.aim("")

	return nil
}

// Failover kills the primary, promotes the standby and leads clients to it. The primary stays
// down.
func (p *Pair) Failover(ctx context.Context) error {
	p.Primary.Crash()
	if err := p.Standby.promote(ctx); err != nil {
		return fmt.Errorf("pgserver: promote the standby: %w", err)
	}
	p.clients.aim(p.Standby.address())
	p.promoted = true

	return nil
}

// Renew makes a copy of the primary its new standby, in place of the former one, which may have been promoted. The
// primary crashes for the time of the copy and recovers from that.
func (p *Pair) Renew(ctx context.Context, cfg Config) error {
	if err := p.renew(ctx, cfg); err != nil {
		return fmt.Errorf("pgserver: give the primary a new standby: %w", err)
	}

	return nil
}

func (p *Pair) renew(ctx context.Context, cfg Config) (err error) {
	former := p.Standby
	if p.promoted {
		p.Primary, former = p.Standby, p.Primary
	}
	p.promoted = false
	if err := former.Stop(); err != nil {
		return err
	}
	p.Primary.Crash()
	if p.Standby, err = p.Primary.copy(ctx, cfg); err != nil {
		return err
	}
	if err := p.Standby.follow(p.stream.address()); err != nil {
		return err
	}
	if err := p.Primary.Recover(ctx); err != nil {
		return err
	}
	p.clients.aim(p.Primary.address())
	p.stream.aim(p.Primary.address())

	return p.Standby.launchOnFreePort(ctx)
}

// Stop stops both servers and removes their data. The Pair cannot be used again.
func (p *Pair) Stop() error {
	var errs []error
	for _, server := range []*Server{p.Standby, p.Primary} {
		if server != nil {
			errs = append(errs, server.Stop())
		}
	}
	for _, r := range []*relay{p.stream, p.clients} {
		if r != nil {
			r.close()
		}
	}

	return errors.Join(errs...)
}

// catchUp waits until the standby has replayed what the primary has committed.
func (p *Pair) catchUp(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, catchUpTimeout)
	defer cancel()
	committed, err := query[string](ctx, p.Primary, "SELECT pg_current_wal_flush_lsn()::text")
	if err != nil {
		return err
	}

	return p.Standby.await(ctx, "SELECT coalesce(pg_last_wal_replay_lsn() >= $1::text::pg_lsn, false)", committed)
}

// copy makes a server of a copy of this one's data folder. Neither runs.
func (s *Server) copy(ctx context.Context, cfg Config) (*Server, error) {
	other, err := prepare(ctx, cfg)
	if err != nil {
		return nil, err
	}
	other.password = s.password
	if err := other.home.Run(ctx, "cp", "-R", s.dataDir(), other.dataDir()); err != nil {
		return nil, errors.Join(fmt.Errorf("copy the data folder: %w", err), other.home.Close())
	}

	return other, nil
}

// follow makes a server that does not run yet a standby of the one that the address leads to.
// The password stands in a file, because others see the arguments of a process.
func (s *Server) follow(address string) error {
	conninfo := strings.ReplaceAll(s.dsnAt(address, ""), "'", "''")
	if err := s.home.WriteFile("data/postgresql.auto.conf", []byte("primary_conninfo = '"+conninfo+"'\n")); err != nil {
		return err
	}

	return s.home.WriteFile("data/standby.signal", nil)
}

// promote makes a standby a primary.
func (s *Server) promote(ctx context.Context) error {
	promoted, err := query[bool](ctx, s, "SELECT pg_promote()")
	if err == nil && !promoted {
		err = errors.New("it is still in recovery")
	}

	return err
}

package outbox_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// movable returns a pool whose connections lead to another database after the move.
func movable(t *testing.T, from *pgtest.DB) (pool *pgxpool.Pool, move func(to *pgtest.DB)) {
	t.Helper()
	var moved atomic.Pointer[pgx.ConnConfig]
	pool = from.Pool(t, func(c *pgxpool.Config) {
		c.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
			if to := moved.Load(); to != nil {
				c.Host, c.Port, c.Database, c.User, c.Password = to.Host, to.Port, to.Database, to.User, to.Password
			}

			return nil
		}
	})

	return pool, func(to *pgtest.DB) {
		target, err := pgx.ParseConfig(to.DSN)
		if err != nil {
			t.Fatal(err)
		}
		moved.Store(target)
		pool.Reset()
	}
}

// restored are ways in which a service gets its tables back as they were before. Each returns the database, and two functions: the
// first keeps what the database holds, the second returns the database that holds it.
var restored = map[string]func(t *testing.T) (db *pgtest.DB, keep func(), restore func() *pgtest.DB){
	"dump":       dump,
	"switchover": switchover,
	"failover":   failover, // Its standby is a base backup, and recovers up to the time of the cut.
}

func dump(t *testing.T) (db *pgtest.DB, keep func(), restore func() *pgtest.DB) {
	t.Helper()
	db = pgtest.NewServiceDB(t)
	fitting(t, db)
	file := t.TempDir() + "/dump"
	run := func(program string, args ...string) {
		if output, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil { //nolint:gosec // Programs of PostgreSQL.
			t.Fatalf("%s: %v\n%s", program, err, output)
		}
	}

	return db, func() { run("pg_dump", "--format=custom", "--file="+file, "--dbname="+db.DSN) }, func() *pgtest.DB {
		_, other := pgtest.NewForgetful(t)
		run("pg_restore", "--clean", "--if-exists", "--dbname="+other.DSN, file)

		return other
	}
}

var major = regexp.MustCompile(`\d+`)

// fitting skips the test if pg_dump is older than the server, as it is on a machine whose server was downloaded.
func fitting(t *testing.T, db *pgtest.DB) {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "pg_dump", "--version").Output()
	if errors.Is(err, exec.ErrNotFound) && os.Getenv("CI") != "true" {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	var server int
	if err := db.Pool(t).QueryRow(t.Context(), `SELECT current_setting('server_version_num')::int / 10000`).Scan(&server); err != nil {
		t.Fatal(err)
	}
	if number(major.FindString(string(output))) < server {
		t.Skipf("%s is older than the server, %d", output, server)
	}
}

func switchover(t *testing.T) (db *pgtest.DB, keep func(), restore func() *pgtest.DB) {
	t.Helper()
	s := pgtest.NewSwitchover(t)
	if err := migrate.Up(t.Context(), s.New.DSN, schema.DefaultName); err != nil {
		t.Fatal(err)
	}

	return s.Old, func() {
			s.Publish(t, "TABLE idem.outbox")
			s.Switch(t)
		}, func() *pgtest.DB {
			(&bundle{pool: s.New.Pool(t)}).exec(t, `SELECT setval('idem.outbox_id_seq', max(id)) FROM idem.outbox`)

			return s.New
		}
}

func failover(t *testing.T) (db *pgtest.DB, keep func(), restore func() *pgtest.DB) {
	t.Helper()
	pair := pgtest.NewPair(t)

	return pair.DB, func() {
			if err := pair.Cut(t.Context()); err != nil {
				t.Fatal(err)
			}
		}, func() *pgtest.DB {
			if err := pair.Failover(t.Context()); err != nil {
				t.Fatal(err)
			}

			return pair.DB
		}
}

// What waited when a backup was made is sent, from the restored database again and with the same event ids, though another
// server has not given out yet the numbers of the transactions that published it. Relays go on by themselves.
func TestRestored(t *testing.T) {
	t.Parallel()
	for name, way := range restored {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, keep, restore := way(t)
			log := &topicLog{}
			before := &bundle{db: db, pool: db.Pool(t), log: log}
			for range 500 { // Its numbers are higher than those of a new server.
				before.exec(t, `SELECT pg_current_xact_id()`)
			}
			pool, move := movable(t, db)
			service := &bundle{pool: pool, log: log}
			stop := service.start(t, nil)
			before.published(t, numbered(0, 10, 3)...)
			before.awaitEmpty(t)
			stop()
			before.published(t, numbered(10, 20, 3)...)
			keep()
			service.start(t, nil)
			before.published(t, numbered(30, 10, 3)...)
			before.awaitEmpty(t)

			to := restore()
			move(to)
			after := &bundle{pool: to.Pool(t), log: log}
			after.published(t, numbered(40, 10, 3)...)
			after.awaitEmpty(t)
			var once, all []string
			for i := range 50 {
				once = append(once, strconv.Itoa(i))
				if i == 40 {
					all = append(all, once[10:30]...)
				}
				all = append(all, strconv.Itoa(i))
			}
			want(t, after.once(t), once...)
			want(t, log.values(), all...)
		})
	}
}

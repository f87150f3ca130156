package modelpg_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/internal/modelpg"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

var first = flag.Uint64("seed", 0, "for TestSameAsPostgreSQL; 0: a random one")

func TestMain(m *testing.M) { pgtest.Main(m) }

const (
	sessions = 3
	steps    = 400
)

// side is one of the two servers.
type side struct {
	conns   [sessions]*pgx.Conn
	answers [sessions]chan string
	waits   func(session int) bool
	running sync.WaitGroup // with the statements
}

func newSide(t *testing.T, config *pgx.ConnConfig) *side {
	t.Helper()
	s := &side{}
	for i := range s.conns {
		own := config.Copy()
		own.DefaultQueryExecMode = pgx.QueryExecModeExec
		own.RuntimeParams["application_name"] = name(i)
		conn, err := pgx.ConnectConfig(t.Context(), own)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			s.running.Wait() // One may still wait for another session. The end of the test's context ends it.
			_ = conn.Close(context.Background())
		})
		s.conns[i], s.answers[i] = conn, make(chan string, 1)
	}

	return s
}

func modelConfig(t *testing.T, s *modelpg.Server) *pgx.ConnConfig {
	t.Helper()
	config, err := pgx.ParseConfig("host=model user=simulated dbname=simulated sslmode=disable")
	if err != nil {
		t.Fatal(err)
	}
	config.DialFunc = s.Dial
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"model"}, nil }

	return config
}

func name(session int) string { return fmt.Sprintf("session %d", session) }

// begin sends a statement.
func (s *side) begin(ctx context.Context, session int, statement call) {
	s.running.Go(func() {
		rows, err := statement(ctx, s.conns[session])
		text, jsonErr := json.Marshal(rows)
		s.answers[session] <- fmt.Sprintf("%s %s", text, codeOf(errors.Join(err, jsonErr)))
	})
}

// codeOf is what an error says, in short.
func codeOf(err error) string {
	var pgErr *pgconn.PgError
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &pgErr):
		return pgErr.Code
	default:
		return err.Error()
	}
}

// answer returns the answer of a session, or "" if it waits for another one. One with a limit of time is awaited.
func (s *side) answer(session int, limited bool) string {
	for {
		select {
		case a := <-s.answers[session]:
			return a
		case <-time.After(time.Millisecond):
			if !limited && s.waits(session) {
				return ""
			}
		}
	}
}

// Random statements of several sessions, in transactions and without, get the same answers from both servers. Who
// waits for whom is the same, too.
func TestSameAsPostgreSQL(t *testing.T) {
	t.Parallel()
	seed := *first
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	d := &deck{Rand: rand.New(rand.NewPCG(seed, 0))}
	database := pgtest.NewServiceDB(t)
	pool := database.Pool(t)
	if err := pool.QueryRow(t.Context(), "SELECT idem.consumer_id($1)", consumerName).Scan(&d.consumer); err != nil {
		t.Fatal(err)
	}
	model := modelpg.NewServer()
	postgres, simulated := newSide(t, pool.Config().ConnConfig), newSide(t, modelConfig(t, model))
	postgres.waits = func(session int) (waits bool) {
		err := pool.QueryRow(t.Context(), "SELECT cardinality(pg_blocking_pids($1)) > 0", postgres.conns[session].PgConn().PID()).Scan(&waits)
		if err != nil {
			t.Error(err)
		}

		return waits
	}
	simulated.waits = func(session int) bool { return model.Waits(name(session)) }
	explicit, limited := [sessions]bool{}, [sessions]bool{}
	waiting := -1 // the session that waits for another one
	answered := func(session int, what string) bool {
		a, b := postgres.answer(session, limited[session]), simulated.answer(session, limited[session])
		if a != b {
			t.Errorf("%s, %s: PostgreSQL answers %q, the model %q (empty: it waits)", name(session), what, a, b)
		}

		t.Logf("%d: %s", session, a)

		return a != ""
	}
	met := map[string]int{}
	for step := 0; step < steps && !t.Failed(); step++ {
		session := d.IntN(sessions)
		what, statement := d.draw()
		switch {
		case waiting >= 0 && (session == waiting || !explicit[session]):
			continue
		case waiting >= 0, explicit[session] && d.IntN(6) == 0: // Who waits goes on once somebody ends.
			what = []string{"commit", "rollback"}[d.IntN(2)]
			explicit[session], limited[session] = false, false
		case !explicit[session] && d.IntN(2) == 0:
			what, explicit[session] = "begin", true
		case what == "PartitionLimitWait" && explicit[session]:
			limited[session] = true
		}
		switch what {
		case "begin", "commit", "rollback":
			statement = func(ctx context.Context, c db.DBTX) (any, error) {
				tag, err := c.Exec(ctx, what)

				return tag.String(), err
			}
		}
		met[what]++
		t.Logf("%d: %s", session, what)
		postgres.begin(t.Context(), session, statement)
		simulated.begin(t.Context(), session, statement)
		if !answered(session, what) {
			waiting = session
		} else if waiting >= 0 && answered(waiting, "what had waited") {
			waiting = -1
		}
	}
	t.Logf("%v", met)
}

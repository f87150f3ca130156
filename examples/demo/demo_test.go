package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// TestMain is also the main function of the workers, which run this program again.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == workerCommand {
		os.Exit(workerStatus())
	}
	pgtest.Main(m)
}

// verdict is the part of the JSON report that others rely on.
type verdict struct {
	Events            int     `json:"events"`
	Lost              int     `json:"lost"`
	Doubled           int     `json:"doubled"`
	DuplicatesStopped int     `json:"duplicates_stopped"`
	NaiveDoubled      int     `json:"naive_doubled"`
	NaiveLost         int     `json:"naive_lost"`
	Rewinds           int     `json:"rewinds"`
	Seconds           float64 `json:"seconds"`
}

// perform runs a small demo and returns the last line of its output.
func perform(t *testing.T, s settings) (verdict, error) {
	t.Helper()
	s.broker, s.events, s.partitions, s.batch, s.seed, s.json = inprocess, 3_000, 8, 20, 1, true
	var out, messages bytes.Buffer
	runErr := run(t.Context(), s, &out, &messages)
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	decoder := json.NewDecoder(strings.NewReader(lines[len(lines)-1]))
	var v verdict
	if err := decoder.Decode(&v); err != nil {
		t.Fatalf("no report: %v, %v\n%s", err, runErr, messages.String())
	}

	return v, runErr
}

func TestGuardKeepsTheLedgerRight(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	got, err := perform(t, settings{dsn: db.DSN})
	if err != nil {
		t.Error(err)
	}
	s := newStream(1, 3_000)
	want := len(s.records) - len(s.events)
	if got.Events != 3_000 || got.Lost != 0 || got.Doubled != 0 || got.DuplicatesStopped != 2*want || got.Seconds <= 0 {
		t.Errorf("report = %+v, want %d duplicates stopped by each guarded consumer, and nothing lost or doubled", got, want)
	}
	if got.NaiveDoubled < want {
		t.Errorf("report = %+v, want the naive consumer to double all %d duplicates", got, want)
	}

	conn, err := pgx.Connect(t.Context(), db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context()) //nolint:errcheck // Nothing is pending on it.
	var left int
	if err := conn.QueryRow(t.Context(), `SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'idem%'`).Scan(&left); err != nil {
		t.Fatal(err)
	}
	if left != 0 {
		t.Errorf("%d schemas are left in the database", left)
	}
}

// A demo that cannot fail proves nothing.
func TestBrokenGuardFails(t *testing.T) {
	t.Parallel()
	got, err := perform(t, settings{dsn: pgtest.NewEmptyDB(t).DSN, breakGuard: true})
	if !errors.Is(err, errWrongLedger) || got.Doubled == 0 {
		t.Errorf("error = %v, report = %+v, want doubled payments to be noticed", err, got)
	}
}

func TestStreamIsRepeatable(t *testing.T) {
	t.Parallel()
	a, b, other := newStream(7, 1_000), newStream(7, 1_000), newStream(8, 1_000)
	if !slices.Equal(a.records, b.records) {
		t.Error("the same seed makes another stream")
	}
	if slices.Equal(a.records, other.records) {
		t.Error("another seed makes the same stream")
	}
}

func TestAuditSeesEveryFault(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	pool, err := connect(t.Context(), db.DSN, "audited")
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	payments := newStream(1, 4).events
	if err := createTables(t.Context(), pool, "audited", payments); err != nil {
		t.Fatal(err)
	}
	// The first is right, the second is doubled by the producer, the third by a redelivery,
	// the fourth is lost, and one comes from nowhere.
	unknown := payment{ID: "00000000-0000-4000-8000-000000000000"}
	for _, entry := range []struct {
		payment

		offset int
	}{{payments[0], 0}, {payments[1], 1}, {payments[1], 2}, {payments[2], 3}, {payments[2], 3}, {unknown, 4}} {
		_, err := pool.Exec(t.Context(), `INSERT INTO ledger VALUES ($1, $2, $3, 0, $4)`, entry.ID, entry.Account, entry.Cents, entry.offset)
		if err != nil {
			t.Fatal(err)
		}
	}

	got, err := readAudit(t.Context(), pool)
	if err != nil {
		t.Fatal(err)
	}
	var change int64
	for _, p := range payments {
		change += p.Cents
	}
	want := audit{
		Events: 4, Lost: 1, Doubled: 2, Unknown: 1, Entries: 6, Redelivered: 1, WrongAccounts: 4,
		ExpectedBalance: accounts*openingBalance + change, ActualBalance: accounts * openingBalance,
	}
	if got != want {
		t.Errorf("audit = %+v, want %+v", got, want)
	}
	if got.right() {
		t.Error("right")
	}
}

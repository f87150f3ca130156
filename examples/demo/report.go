package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// report is what the demo found out.
type report struct {
	Events   int64
	Records  int64
	Seed     uint64
	Broker   string
	Postgres string
	Guarded  result
	Naive    result
	Elapsed  time.Duration
}

// duplicatesStopped is the number of records whose event another record had brought before.
func (r report) duplicatesStopped() int64 { return r.Records - (r.Events - r.Guarded.Lost) }

// write writes the report and returns errWrongLedger if the guard has failed.
func (r report) write(out io.Writer, asJSON bool) error {
	write := r.table
	if asJSON {
		write = r.json
	}
	if err := write(out); err != nil {
		return err
	}
	if !r.Guarded.right() {
		return errWrongLedger
	}

	return nil
}

// table writes the ledger for people.
func (r report) table(out io.Writer) error {
	english := message.NewPrinter(language.English)
	count := func(n int64) string { return english.Sprintf("%d", n) }
	money := func(cents int64) string {
		return english.Sprintf("%s%d.%02d", sign(cents), abs(cents)/100, abs(cents)%100)
	}
	rate := func(p result) string {
		return english.Sprintf("%.0f records/s", float64(r.Records)/p.Elapsed.Seconds())
	}
	seconds := func(p result) string { return fmt.Sprintf("%.1f s", p.Elapsed.Seconds()) }

	rows := []struct{ name, guarded, naive string }{
		{"", "guarded", "naive"},
		{"expected balance", money(r.Guarded.ExpectedBalance), money(r.Naive.ExpectedBalance)},
		{"actual balance", money(r.Guarded.ActualBalance), money(r.Naive.ActualBalance)},
		{"wrong accounts", count(r.Guarded.WrongAccounts), count(r.Naive.WrongAccounts)},
		{"events lost", count(r.Guarded.Lost), count(r.Naive.Lost)},
		{"events doubled", count(r.Guarded.Doubled), count(r.Naive.Doubled)},
		{"  by a redelivery", count(r.Guarded.Redelivered), count(r.Naive.Redelivered)},
		{"duplicates stopped", count(r.duplicatesStopped()), "0"},
		{"consumers killed", count(int64(r.Guarded.Killed)), count(int64(r.Naive.Killed))},
		{"time", seconds(r.Guarded), seconds(r.Naive)},
		{"rate", rate(r.Guarded), rate(r.Naive)},
	}
	var text bytes.Buffer
	_, _ = english.Fprintf(&text, "\n%d payments in %d records through %s into %s\n\n", r.Events, r.Records, r.Broker, r.Postgres)
	for _, row := range rows {
		fmt.Fprintf(&text, "  %-18s %18s %18s\n", row.name, row.guarded, row.naive)
	}
	fmt.Fprintf(&text, "\n%s\n", r.verdict(english))
	if _, err := text.WriteTo(out); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

func (r report) verdict(english *message.Printer) string {
	if !r.Guarded.right() {
		return english.Sprintf("FAILED: behind the guard %d payments are lost, %d doubled, %d unknown and %d accounts wrong.",
			r.Guarded.Lost, r.Guarded.Doubled, r.Guarded.Unknown, r.Guarded.WrongAccounts)
	}

	return english.Sprintf("OK: behind the guard each of %d payments took effect exactly once; without it %d took effect twice or more.",
		r.Events, r.Naive.Doubled)
}

// json writes the ledger for programs, as one line.
func (r report) json(out io.Writer) error {
	err := json.NewEncoder(out).Encode(map[string]any{
		"events":                    r.Events,
		"records":                   r.Records,
		"lost":                      r.Guarded.Lost,
		"doubled":                   r.Guarded.Doubled,
		"wrong_accounts":            r.Guarded.WrongAccounts,
		"duplicates_stopped":        r.duplicatesStopped(),
		"killed":                    r.Guarded.Killed,
		"guarded_seconds":           rounded(r.Guarded.Elapsed),
		"naive_lost":                r.Naive.Lost,
		"naive_doubled":             r.Naive.Doubled,
		"naive_doubled_redelivered": r.Naive.Redelivered,
		"naive_wrong_accounts":      r.Naive.WrongAccounts,
		"naive_killed":              r.Naive.Killed,
		"naive_seconds":             rounded(r.Naive.Elapsed),
		"expected_balance_cents":    r.Guarded.ExpectedBalance,
		"actual_balance_cents":      r.Guarded.ActualBalance,
		"naive_balance_cents":       r.Naive.ActualBalance,
		"seed":                      r.Seed,
		"broker":                    r.Broker,
		"postgresql":                r.Postgres,
		"seconds":                   rounded(r.Elapsed),
	})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

func rounded(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

func abs(n int64) int64 { return max(n, -n) }

func sign(n int64) string {
	if n < 0 {
		return "-"
	}

	return ""
}

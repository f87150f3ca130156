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
	Batch    int // most payments in a transaction of the consumer with batches
	Broker   string
	Postgres string
	Naive    result
	Guarded  result
	Batches  result
	Elapsed  time.Duration
}

// right reports whether each payment took effect exactly once behind the guard.
func (r report) right() bool { return r.Guarded.right() && r.Batches.right() }

// stopped is the number of records whose event another record had brought before.
func (r report) stopped(p result) int64 { return r.Records - (r.Events - p.Lost) }

// write writes the report and returns errWrongLedger if the guard has failed.
func (r report) write(out io.Writer, asJSON bool) error {
	write := r.table
	if asJSON {
		write = r.json
	}
	if err := write(out); err != nil {
		return err
	}
	if !r.right() {
		return errWrongLedger
	}

	return nil
}

// table writes the ledgers for people.
func (r report) table(out io.Writer) error {
	english := message.NewPrinter(language.English)
	count := func(n int64) string { return english.Sprintf("%d", n) }
	money := func(cents int64) string {
		return english.Sprintf("%s%d.%02d", sign(cents), abs(cents)/100, abs(cents)%100)
	}
	rows := []struct {
		name string
		of   func(p result) string
	}{
		{"expected balance", func(p result) string { return money(p.ExpectedBalance) }},
		{"actual balance", func(p result) string { return money(p.ActualBalance) }},
		{"wrong accounts", func(p result) string { return count(p.WrongAccounts) }},
		{"payments lost", func(p result) string { return count(p.Lost) }},
		{"payments doubled", func(p result) string { return count(p.Doubled) }},
		{"  the producer sent twice", func(p result) string { return count(p.Doubled - p.Redelivered) }},
		{"  Kafka delivered twice", func(p result) string { return count(p.Redelivered) }},
		{"consumers killed", func(p result) string { return count(int64(p.Killed)) }},
		{"time", func(p result) string { return fmt.Sprintf("%.1f s", p.Elapsed.Seconds()) }},
		{"rate", func(p result) string {
			return english.Sprintf("%.0f records/s", float64(r.Records)/p.Elapsed.Seconds())
		}},
	}
	var text bytes.Buffer
	_, _ = english.Fprintf(&text, "\n%d payments in %d records through %s into %s\n\n", r.Events, r.Records, r.Broker, r.Postgres)
	fmt.Fprintf(&text, "  %-25s %18s %18s %18s\n", "", naiveConsumer, guardedConsumer, "guarded, batches")
	fmt.Fprintf(&text, "  %-25s %18s %18s %18s\n", "payments a transaction", "1", "1", english.Sprintf("up to %d", r.Batch))
	for _, row := range rows {
		fmt.Fprintf(&text, "  %-25s %18s %18s %18s\n", row.name, row.of(r.Naive), row.of(r.Guarded), row.of(r.Batches))
	}
	fmt.Fprintf(&text, "\n%s\n", r.verdict(english))
	if _, err := text.WriteTo(out); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

func (r report) verdict(english *message.Printer) string {
	if !r.right() {
		return english.Sprintf("FAILED: behind the guard %d payments are lost, %d doubled, %d unknown and %d accounts wrong.",
			r.Guarded.Lost+r.Batches.Lost, r.Guarded.Doubled+r.Batches.Doubled,
			r.Guarded.Unknown+r.Batches.Unknown, r.Guarded.WrongAccounts+r.Batches.WrongAccounts)
	}

	return english.Sprintf("OK: behind the guard each of %d payments took effect exactly once; without it %d took effect twice or more.",
		r.Events, r.Naive.Doubled)
}

// json writes the ledgers for programs, as one line. What stands outside the consumers is of both that
// are guarded.
func (r report) json(out io.Writer) error {
	err := json.NewEncoder(out).Encode(map[string]any{
		"events":             r.Events,
		"records":            r.Records,
		"lost":               r.Guarded.Lost + r.Batches.Lost,
		"doubled":            r.Guarded.Doubled + r.Batches.Doubled,
		"wrong_accounts":     r.Guarded.WrongAccounts + r.Batches.WrongAccounts,
		"duplicates_stopped": r.stopped(r.Guarded) + r.stopped(r.Batches),
		"naive_lost":         r.Naive.Lost,
		"naive_doubled":      r.Naive.Doubled,
		"consumers": map[string]consumerJSON{
			naiveConsumer: r.Naive.json(1), guardedConsumer: r.Guarded.json(1), batchConsumer: r.Batches.json(r.Batch),
		},
		"seed":       r.Seed,
		"broker":     r.Broker,
		"postgresql": r.Postgres,
		"seconds":    rounded(r.Elapsed),
	})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

// consumerJSON is one consumer's ledger.
type consumerJSON struct {
	Batch                int     `json:"payments_a_transaction"`
	Lost                 int64   `json:"lost"`
	Doubled              int64   `json:"doubled"`
	Redelivered          int64   `json:"doubled_by_redelivery"`
	WrongAccounts        int64   `json:"wrong_accounts"`
	ExpectedBalanceCents int64   `json:"expected_balance_cents"`
	ActualBalanceCents   int64   `json:"actual_balance_cents"`
	Killed               int     `json:"killed"`
	Seconds              float64 `json:"seconds"`
}

func (p result) json(batch int) consumerJSON {
	return consumerJSON{
		Batch: batch, Lost: p.Lost, Doubled: p.Doubled, Redelivered: p.Redelivered, WrongAccounts: p.WrongAccounts,
		ExpectedBalanceCents: p.ExpectedBalance, ActualBalanceCents: p.ActualBalance, Killed: p.Killed, Seconds: rounded(p.Elapsed),
	}
}

func rounded(d time.Duration) float64 { return math.Round(d.Seconds()*10) / 10 }

func abs(n int64) int64 { return max(n, -n) }

func sign(n int64) string {
	if n < 0 {
		return "-"
	}

	return ""
}

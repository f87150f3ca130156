package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"

	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// failoverReport is the report of a demo with a failover.
type failoverReport struct {
	report

	Rewinds             int64 // told by the guarded consumer, one for each partition
	GuardedUnreplicated int64 // payments that the primary had applied and the standby did not have
	NaiveUnreplicated   int64
}

// write writes the report and returns errWrongLedger if the guard has failed.
func (r failoverReport) write(out io.Writer, asJSON bool) error {
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

// table writes the ledgers for people.
func (r failoverReport) table(out io.Writer) error {
	english := message.NewPrinter(language.English)
	var text bytes.Buffer
	_, _ = english.Fprintf(&text, "\n%d payments in %d records through %s into %s\n\n", r.Events, r.Records, r.Broker, r.Postgres)
	fmt.Fprintf(&text, "  %-28s %18s %18s\n", "", "guarded", "naive")
	for _, row := range []struct {
		name           string
		guarded, naive int64
	}{
		{"payments died with primary", r.GuardedUnreplicated, r.NaiveUnreplicated},
		{"rewinds to the checkpoint", r.Rewinds, 0},
		{"events lost", r.Guarded.Lost, r.Naive.Lost},
		{"events doubled", r.Guarded.Doubled, r.Naive.Doubled},
		{"wrong accounts", r.Guarded.WrongAccounts, r.Naive.WrongAccounts},
	} {
		_, _ = english.Fprintf(&text, "  %-28s %18d %18d\n", row.name, row.guarded, row.naive)
	}
	fmt.Fprintf(&text, "\n%s\n", r.verdict(english))
	if _, err := text.WriteTo(out); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

func (r failoverReport) verdict(english *message.Printer) string {
	if !r.Guarded.right() {
		return r.report.verdict(english)
	}

	return english.Sprintf("OK: behind the guard each of %d payments took effect exactly once, though the primary died with some;\n"+
		"the consumer that trusts its group's offset lost %d.", r.Events, r.Naive.Lost)
}

// json writes the ledgers for programs, as one line.
func (r failoverReport) json(out io.Writer) error {
	err := json.NewEncoder(out).Encode(map[string]any{
		"events":               r.Events,
		"records":              r.Records,
		"lost":                 r.Guarded.Lost,
		"doubled":              r.Guarded.Doubled,
		"wrong_accounts":       r.Guarded.WrongAccounts,
		"rewinds":              r.Rewinds,
		"unreplicated":         r.GuardedUnreplicated,
		"naive_lost":           r.Naive.Lost,
		"naive_doubled":        r.Naive.Doubled,
		"naive_wrong_accounts": r.Naive.WrongAccounts,
		"naive_unreplicated":   r.NaiveUnreplicated,
		"seed":                 r.Seed,
		"broker":               r.Broker,
		"postgresql":           r.Postgres,
		"seconds":              rounded(r.Elapsed),
	})
	if err != nil {
		return fmt.Errorf("write the report: %w", err)
	}

	return nil
}

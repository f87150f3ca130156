package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

func newDeadLetter(a *app) *cobra.Command {
	command := group("deadletter", "List dead letters, have them processed again, give them up",
		`Dead letters are records that could not be processed. Their states:
    open        waits for somebody to decide: "deadletter replay" or "deadletter discard"
    parked      waits behind an unresolved dead letter of the same record key, and follows by itself
    replay      will be processed again by the consumer that owns the partition
    replayed    has been processed since
    discarded   was given up by somebody
    superseded  was not replayed, because another delivery of its event was processed
    expired     was asked for ("idemctl reprocess"), but Kafka no longer had the record
The first three are unresolved. An ID may be shortened to its first digits, at least four, that no
other dead letter's id begins with. Lists print ids so shortened; with --json they print whole ids.`,
		newDeadLetterList(a), newDeadLetterShow(a), newDeadLetterReplay(a), newDeadLetterDiscard(a))
	command.Aliases = []string{"dlq"}

	return command
}

// unresolvedStates and allStates are what --state takes besides the states themselves.
var (
	unresolvedStates = []idem.DeadLetterState{idem.DeadLetterOpen, idem.DeadLetterParked, idem.DeadLetterReplay}
	allStates        = append(slices.Clone(unresolvedStates), idem.DeadLetterReplayed, idem.DeadLetterDiscarded, idem.DeadLetterSuperseded, idem.DeadLetterExpired)
)

// deadLetterFilter chooses dead letters, together with --consumer. Empty fields choose all.
type deadLetterFilter struct {
	topic     string
	state     string
	eventID   string
	errorPart string
	since     string
	limit     int32
}

// filtered reports whether one of the flags that choose dead letters was given. One that is empty is
// refused: in a script it is a variable that is not set, and would choose all.
func filtered(command *cobra.Command) (bool, error) {
	given := false
	for _, name := range []string{"consumer", "topic", "state", "event-id", "error", "since"} {
		flag := command.Flags().Lookup(name)
		if flag.Changed && flag.Value.String() == "" {
			return false, fail(exitUsage, "--%s is empty; leave it out where all are meant", name)
		}
		given = given || flag.Changed
	}

	return given, nil
}

// deadLetterFlags adds the flags that choose dead letters to a command.
func (a *app) deadLetterFlags(command *cobra.Command, f *deadLetterFilter, state, stateUsage string, limit int32, limitUsage string) {
	a.consumerFlag(command, "`NAME` of the consumer whose dead letters are meant (default: all)")
	flags := command.Flags()
	flags.StringVarP(&f.topic, "topic", "t", "", "`TOPIC` of the records")
	flags.StringVarP(&f.state, "state", "s", state, stateUsage)
	flags.StringVarP(&f.eventID, "event-id", "e", "", "`ID` of the event")
	flags.StringVar(&f.errorPart, "error", "", "`TEXT` that the error contains")
	flags.StringVar(&f.since, "since", "", "failed not longer ago than this `AGE` (36h, 7d), or at this time or later (2026-01-31T12:00:00Z, 2026-01-31)")
	flags.Int32Var(&f.limit, "limit", limit, limitUsage)
}

// params are the filter as the query takes it, but for the consumer. Dead letters are only chosen
// among those of the states in allowed.
func (f deadLetterFilter) params(allowed []idem.DeadLetterState) (db.DeadLetterListParams, error) {
	var p db.DeadLetterListParams
	for _, text := range []struct {
		flag, value string
		param       **string
	}{{"--topic", f.topic, &p.Topic}, {"--event-id", f.eventID, &p.EventID}, {"--error", f.errorPart, &p.ErrorPart}} {
		if !utf8.ValidString(text.value) || strings.ContainsRune(text.value, 0) {
			return p, fail(exitUsage, "%s is not UTF-8 without NUL bytes", text.flag)
		}
		if text.value != "" {
			*text.param = &text.value
		}
	}
	var err error
	if p.States, err = f.states(allowed); err != nil {
		return p, err
	}
	if f.since != "" {
		if p.MaxAgeSeconds, p.Since, err = parseSince(f.since); err != nil {
			return p, fail(exitUsage, "--since: %w", err)
		}
	}
	if f.limit < 0 {
		return p, fail(exitUsage, "--limit is negative (%d)", f.limit)
	}
	if f.limit > 0 {
		p.MaxRows = &f.limit
	}

	return p, nil
}

func (f deadLetterFilter) states(allowed []idem.DeadLetterState) ([]string, error) {
	var chosen []string
	for _, state := range allowed {
		if f.state == string(state) || f.state == "all" || f.state == "unresolved" && slices.Contains(unresolvedStates, state) {
			chosen = append(chosen, string(state))
		}
	}
	if len(chosen) > 0 {
		return chosen, nil
	}

	return nil, fail(exitUsage, "--state %s: it must be one of %s, unresolved, all", printable(shorten(f.state)), joined(allowed))
}

func joined(states []idem.DeadLetterState) string {
	names := make([]string, len(states))
	for i, state := range states {
		names[i] = string(state)
	}

	return strings.Join(names, ", ")
}

// parseSince reads an age, which the database counts back from its own clock, or a time.
func parseSince(text string) (age *float64, since *time.Time, err error) {
	if d, err := parseDuration(text); err == nil {
		seconds := d.Seconds()

		return &seconds, nil, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return nil, &t, nil
		}
	}

	return nil, nil, fmt.Errorf("%s is neither an age (36h, 7d) nor a time (2026-01-31T12:00:00Z, 2026-01-31)", printable(shorten(text)))
}

// listedDeadLetter is a dead letter without the record itself.
type listedDeadLetter struct {
	ID         uuid.UUID  `json:"id"`
	Consumer   string     `json:"consumer"`
	Topic      string     `json:"topic"`
	Partition  int32      `json:"partition"`
	Offset     int64      `json:"offset"`
	RecordTime *time.Time `json:"record_time"` // null if the record has none
	State      string     `json:"state"`
	Attempts   int32      `json:"attempts"`
	FailedAt   *time.Time `json:"failed_at"`   // null if somebody has set it to what is no time
	ResolvedAt *time.Time `json:"resolved_at"` // null if unresolved
	EventID    *string    `json:"event_id"`    // null if the record has none
	Error      string     `json:"error"`

	consumerID int64
	short      string // the beginning of the id that tells it from all others
}

type deadLetterList []listedDeadLetter

func (l deadLetterList) text() string {
	if len(l) == 0 {
		return "No dead letter is chosen.\n"
	}
	t := table{columns: []column{
		{name: "ID"}, consumerColumn, {name: "TOPIC"}, {name: "PARTITION", number: true}, {name: "OFFSET", number: true},
		{name: "STATE"}, {name: "ATTEMPTS", number: true}, {name: "FAILED"}, {name: "EVENT"}, {name: "ERROR"},
	}}
	for _, letter := range l {
		event := "-"
		if letter.EventID != nil {
			event = printable(shorten(*letter.EventID))
		}
		t.row(letter.short, printable(letter.Consumer), printable(letter.Topic), decimal(letter.Partition), decimal(letter.Offset),
			printable(letter.State), number(int64(letter.Attempts)), optionalTime(letter.FailedAt), event,
			printable(shorten(strings.ReplaceAll(letter.Error, "\n", "; "))))
	}

	return t.String()
}

// letters returns the dead letters that a query chooses, of the consumer of --consumer if named.
func (s *store) deadLetters(ctx context.Context, consumer string, p db.DeadLetterListParams) (deadLetterList, error) {
	if consumer != "" {
		c, err := s.consumer(ctx, consumer)
		if err != nil {
			return nil, err
		}
		p.ConsumerID = &c.ID
	}
	rows, err := s.queries.DeadLetterList(ctx, s.conn, p)
	if err != nil {
		return nil, fmt.Errorf("list the dead letters: %w", err)
	}
	list := make(deadLetterList, len(rows))
	for i, row := range rows {
		list[i] = listedDeadLetter{
			ID: row.ID, consumerID: row.ConsumerID, Consumer: row.Consumer, Topic: row.Topic, Partition: row.RecordPartition, Offset: row.RecordOffset,
			RecordTime: finite(row.RecordTime), State: row.State, Attempts: row.Attempts,
			FailedAt: finite(row.FailedAt), ResolvedAt: finite(row.ResolvedAt), EventID: row.EventID, Error: row.Error,
		}
	}

	return list, s.shortenIDs(ctx, list)
}

// finite is a time in UTC, or nil if it is none that people, or JSON, can read.
func finite(t pgtype.Timestamptz) *time.Time {
	u := t.Time.UTC()
	if !t.Valid || t.InfinityModifier != pgtype.Finite || u.Year() < 1 || u.Year() > 9999 {
		return nil
	}

	return &u
}

func optionalTime(t *time.Time) string {
	if t == nil {
		return "-"
	}

	return timestamp(*t)
}

func deadLetters(n int64) string { return plural(n, "dead letter") }

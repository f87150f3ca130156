package cli

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDeadLetter(a *app) *cobra.Command {
	command := group("deadletter", "List, show, replay and discard dead letters",
		`Dead letters are records that could not be processed. Their states:
    open        waits for an operator: "deadletter replay" or "deadletter discard"
    parked      waits behind an unresolved dead letter of the same record key, and follows by itself
    replay      will be processed again by the consumer that owns the partition
    replayed    has been processed since
    discarded   was given up by an operator
    superseded  was not replayed, because another delivery of its event was processed
    expired     was requested ("idemctl reprocess"), but Kafka no longer had the record, or had another
                one in its place
The first three are unresolved. An ID may be shortened to its first digits, at least four, that no
other dead letter's id begins with. Lists print ids so shortened; with --json they print whole ids.`,
		newDeadLetterList(a), newDeadLetterShow(a), newDeadLetterReplay(a), newDeadLetterDiscard(a))
	command.Aliases = []string{"dlq"}

	return command
}

// deadLetterFlags are the flags that choose dead letters, but for --consumer. Empty ones choose all.
type deadLetterFlags struct {
	topic     string
	state     string
	eventID   string
	errorPart string
	since     string
	limit     int32
}

// filtered reports whether one of the flags that choose dead letters was given. An empty --consumer is refused as other flags
// are (refuseEmpty).
func filtered(command *cobra.Command) (bool, error) {
	if flag := command.Flags().Lookup(ofConsumer); flag.Changed && flag.Value.String() == "" {
		return false, fail(exitUsage, "--consumer is empty; leave it out where all are meant")
	}

	return slices.ContainsFunc([]string{ofConsumer, "topic", "state", "event-id", "error", "since"}, command.Flags().Changed), nil
}

// addDeadLetterFlags adds the flags that choose dead letters to a command.
func (a *app) addDeadLetterFlags(
	command *cobra.Command, f *deadLetterFlags, allowed []idem.DeadLetterState, state, stateUsage string, limit int32, limitUsage string,
) {
	a.consumerFlag(command, "`NAME` of the consumer whose dead letters are meant (default: all)")
	flags := command.Flags()
	flags.StringVarP(&f.topic, "topic", "t", "", "`TOPIC` of the records")
	flags.StringVarP(&f.state, "state", "s", state, stateUsage)
	flags.StringVarP(&f.eventID, "event-id", "e", "", "`ID` of the event")
	flags.StringVar(&f.errorPart, "error", "", "`TEXT` that the error contains")
	flags.StringVar(&f.since, "since", "", "failed not longer ago than this `AGE` (36h, 7d), or at this time or later (2026-01-31T12:00:00Z, 2026-01-31)")
	flags.Int32Var(&f.limit, "limit", limit, limitUsage)
	words := append(strings.Split(joined(allowed), ", "), "unresolved", "all")
	_ = command.RegisterFlagCompletionFunc("state", cobra.FixedCompletions(words, cobra.ShellCompDirectiveNoFileComp)) // The flag is there.
}

// filter is what the flags choose, among the dead letters in the states that are allowed.
func (f deadLetterFlags) filter(allowed []idem.DeadLetterState) (ops.DeadLetterFilter, error) {
	filter := ops.DeadLetterFilter{Topic: f.topic, EventID: f.eventID, Error: f.errorPart, Limit: f.limit}
	for _, state := range allowed {
		if f.state == string(state) || f.state == "all" || f.state == "unresolved" && slices.Contains(ops.UnresolvedStates(), state) {
			filter.States = append(filter.States, state)
		}
	}
	if filter.States == nil {
		return filter, fail(exitUsage, "--state %s: it must be one of %s, unresolved, all", readable.Name(readable.Short(f.state)), joined(allowed))
	}
	if f.since != "" {
		var err error
		if filter.MaxAge, filter.Since, err = parseSince(f.since); err != nil {
			return filter, fail(exitUsage, "--since: %w", err)
		}
	}

	return filter, filter.Validate()
}

func joined(states []idem.DeadLetterState) string {
	names := make([]string, len(states))
	for i, state := range states {
		names[i] = string(state)
	}

	return strings.Join(names, ", ")
}

func deadLettersText(l []ops.DeadLetter) string {
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
			event = readable.Name(readable.Short(*letter.EventID))
		}
		t.row(letter.ShortID, readable.Name(letter.Consumer), readable.Name(letter.Topic), decimal(letter.Partition), decimal(letter.Offset),
			stateCell(letter), readable.Number(int64(letter.Attempts)), optionalTime(letter.FailedAt), event,
			readable.Name(readable.Short(strings.ReplaceAll(letter.Error, "\n", "; "))))
	}

	return t.String()
}

// stateCell is the state, and of a parked one what it waits for.
func stateCell(l ops.DeadLetter) string {
	if l.Awaits != nil {
		return string(l.State) + " behind " + l.Awaits.ShortID + " (" + readable.Name(string(l.Awaits.State)) + ")"
	}

	return readable.Name(string(l.State))
}

// awaited names what a parked dead letter waits for.
func awaited(l ops.DeadLetter) string {
	return "dead letter " + l.Awaits.ID.String() + " (" + readable.Name(string(l.Awaits.State)) + ")"
}

func deadLetters(n int64) string { return readable.Plural(n, "dead letter") }

package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
)

func newDeadLetterShow(a *app) *cobra.Command {
	var raw bool
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Print a dead letter whole: why it failed, key, headers and value",
		Long: `Prints a dead letter whole. Keys, headers and values that are not UTF-8 are printed as
hexadecimal numbers, and as …_base64 instead of …_text in JSON.

With --raw-value it writes the bytes of the value to stdout and nothing else; on a terminal they
may do anything. A value that is null is written as nothing.

The exit status is 3 if there is no such dead letter.`,
		Example: `  idemctl deadletter show 0199c2a4
  idemctl deadletter show 0199c2a4 --raw-value > value.bin`,
		Args: wants("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := parseDeadLetterID(args[0])
			if err != nil {
				return err
			}
			if raw && a.settings.json {
				return fail(exitUsage, "--raw-value and --json exclude each other")
			}

			return a.showDeadLetter(command, id, raw)
		},
	}
	command.Flags().BoolVar(&raw, "raw-value", false, "write only the value, its bytes unchanged")

	return command
}

type shownDeadLetter struct {
	listedDeadLetter

	ClaimID     uuid.NullUUID `json:"claim_id"` // null if the event is to be processed again whoever has claimed it
	KeyText     *string       `json:"key_text"`
	KeyBase64   *string       `json:"key_base64"`
	Headers     []shownHeader `json:"headers"`
	ValueText   *string       `json:"value_text"`
	ValueBase64 *string       `json:"value_base64"`

	row db.DeadLetterGetRow
}

type shownHeader struct {
	KeyText     *string `json:"key_text"`
	KeyBase64   *string `json:"key_base64"`
	ValueText   *string `json:"value_text"`
	ValueBase64 *string `json:"value_base64"`
}

func (l shownDeadLetter) text() string {
	pairs := [][2]string{
		{"id", l.ID.String()},
		{"consumer", printable(l.Consumer)},
		{"state", printable(l.State)},
		{"record", fmt.Sprintf("partition %d of %s, offset %d", l.Partition, printable(l.Topic), l.Offset)},
		{"event id", optional(l.EventID)},
		{"attempts", number(int64(l.Attempts))},
		{"failed", optionalTime(l.FailedAt)},
	}
	if l.ResolvedAt != nil {
		pairs = append(pairs, [2]string{"resolved", timestamp(*l.ResolvedAt)})
	}
	if l.RecordTime != nil {
		pairs = append(pairs, [2]string{"record time", timestamp(*l.RecordTime)})
	}
	pairs = append(pairs,
		[2]string{"claim id", orDash(l.ClaimID)},
		[2]string{"error", escapeLines(l.Error)},
		[2]string{"key", bytesOnLine(l.row.RecordKey)})
	for i, key := range l.row.HeaderKeys {
		pairs = append(pairs, [2]string{"header", bytesOnLine(key) + ": " + bytesOnLine(headerValue(l.row, i))})
	}

	return facts(append(pairs, [2]string{"value", bytesOnLines(l.row.RecordValue)})...)
}

// headerValue is the value of a header. The two arrays have one length unless somebody has
// changed them by hand, who may need this command most.
func headerValue(row db.DeadLetterGetRow, i int) []byte {
	if i >= len(row.HeaderValues) {
		return nil
	}

	return row.HeaderValues[i]
}

func (a *app) showDeadLetter(command *cobra.Command, id idPrefix, raw bool) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		found, err := s.find(ctx, id)
		if err != nil {
			return err
		}
		if found == nil {
			return fail(exitNotFound, "there is no dead letter %s; \"idemctl deadletter list --state all%s\" lists them", id, s.schemaArgument())
		}
		row, err := s.queries.DeadLetterGet(ctx, s.conn, db.DeadLetterGetParams{ConsumerID: found.ConsumerID, ID: found.ID})
		switch {
		case err != nil:
			return fmt.Errorf("read the dead letter: %w", err)
		case raw:
			_, err := a.Stdout.Write(row.RecordValue)

			return wrap("write to stdout", err)
		default:
			return a.print(newShownDeadLetter(row))
		}
	})
}

func newShownDeadLetter(row db.DeadLetterGetRow) shownDeadLetter {
	l := shownDeadLetter{
		listedDeadLetter: listedDeadLetter{
			ID: row.ID, Consumer: row.Consumer, Topic: row.Topic, Partition: row.RecordPartition, Offset: row.RecordOffset,
			RecordTime: finite(row.RecordTime), State: row.State, Attempts: row.Attempts,
			FailedAt: finite(row.FailedAt), ResolvedAt: finite(row.ResolvedAt), EventID: row.EventID, Error: row.Error,
		},
		ClaimID: row.ClaimID, Headers: make([]shownHeader, len(row.HeaderKeys)), row: row,
	}
	l.KeyText, l.KeyBase64 = jsonBytes(row.RecordKey)
	l.ValueText, l.ValueBase64 = jsonBytes(row.RecordValue)
	for i, key := range row.HeaderKeys {
		h := &l.Headers[i]
		h.KeyText, h.KeyBase64 = jsonBytes(key)
		h.ValueText, h.ValueBase64 = jsonBytes(headerValue(row, i))
	}

	return l
}

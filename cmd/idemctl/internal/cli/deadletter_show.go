package cli

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
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

The exit status is 3 if there is no such letter.`,
		Example: `  idemctl deadletter show 17
  idemctl deadletter show 17 --raw-value > value.bin`,
		Args: wants("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			id, err := parseLetterID(args[0])
			if err != nil {
				return err
			}
			if raw && a.settings.json {
				return fail(exitUsage, "--raw-value and --json exclude each other")
			}

			return a.showLetter(command, id, raw)
		},
	}
	command.Flags().BoolVar(&raw, "raw-value", false, "write only the value, its bytes unchanged")

	return command
}

func parseLetterID(text string) (int64, error) {
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil || id <= 0 {
		return 0, fail(exitUsage, "%s is not the id of a dead letter: \"idemctl deadletter list\" prints numbers", printable(shorten(text)))
	}

	return id, nil
}

type shownLetter struct {
	listedLetter

	ClaimID     uuid.UUID     `json:"claim_id"`
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

func (l shownLetter) text() string {
	pairs := [][2]string{
		{"id", decimal(l.ID)},
		{"consumer", printable(l.Consumer)},
		{"state", printable(l.State)},
		{"record", fmt.Sprintf("partition %d of %s, offset %d", l.Partition, printable(l.Topic), l.Offset)},
		{"event id", optional(l.EventID)},
		{"attempts", number(int64(l.Attempts))},
		{"failed", timestamp(l.FailedAt)},
	}
	if l.ResolvedAt != nil {
		pairs = append(pairs, [2]string{"resolved", timestamp(*l.ResolvedAt)})
	}
	if l.RecordTime != nil {
		pairs = append(pairs, [2]string{"record time", timestamp(*l.RecordTime)})
	}
	pairs = append(pairs,
		[2]string{"claim id", l.ClaimID.String()},
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

func (a *app) showLetter(command *cobra.Command, id int64, raw bool) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		row, err := s.queries.DeadLetterGet(ctx, s.conn, id)
		switch {
		case errors.Is(err, pgx.ErrNoRows):
			return fail(exitNotFound, "there is no dead letter %d; \"idemctl deadletter list --state all%s\" lists them", id, s.schemaArgument())
		case err != nil:
			return fmt.Errorf("read the dead letter: %w", err)
		case raw:
			_, err := a.Stdout.Write(row.RecordValue)

			return wrap("write to stdout", err)
		default:
			return a.print(newShownLetter(row))
		}
	})
}

func newShownLetter(row db.DeadLetterGetRow) shownLetter {
	l := shownLetter{
		listedLetter: listedLetter{
			ID: row.ID, Consumer: row.Consumer, Topic: row.Topic, Partition: row.RecordPartition, Offset: row.RecordOffset,
			RecordTime: utc(row.RecordTime), State: row.State, Attempts: row.Attempts,
			FailedAt: row.FailedAt.UTC(), ResolvedAt: utc(row.ResolvedAt), EventID: row.EventID, Error: row.Error,
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

package cli

import (
	"context"
	"fmt"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDeadLetterShow(a *app) *cobra.Command {
	var raw bool
	command := &cobra.Command{
		Use:   "show ID",
		Short: "Print a dead letter: why it failed, key, headers and value",
		Long: `Prints a dead letter with its record. Keys, headers and values that are not UTF-8 are printed as
hexadecimal numbers, and as …_base64 instead of …_text in JSON.

With --raw-value it writes only the bytes of the value to stdout. On a terminal they may contain
control sequences. A value that is null writes nothing.`,
		Example: `  idemctl deadletter show 0199c2a4
  idemctl deadletter show 0199c2a4 --raw-value > value.bin`,
		Args: wants("ID"),
		RunE: func(command *cobra.Command, args []string) error {
			if err := ops.CheckDeadLetterID(args[0]); err != nil {
				return err
			}
			if raw && a.settings.json {
				return fail(exitUsage, "--raw-value and --json exclude each other")
			}

			return a.showDeadLetter(command, args[0], raw)
		},
	}
	command.Flags().BoolVar(&raw, "raw-value", false, "write only the value, its bytes unchanged")

	return command
}

func (a *app) showDeadLetter(command *cobra.Command, id string, raw bool) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		letter, err := c.DeadLetter(ctx, id)
		switch {
		case err != nil:
			return err
		case raw:
			_, err := a.Stdout.Write(letter.Value)

			return wrap("write to stdout", err)
		default:
			return a.print(letter, deadLetterText(letter))
		}
	})
}

func deadLetterText(l ops.DeadLetterRecord) string {
	pairs := [][2]string{
		{"id", l.ID.String()},
		{"consumer", readable.Name(l.Consumer)},
		{"state", readable.Name(string(l.State))},
	}
	if l.Awaits != nil {
		pairs = append(pairs, [2]string{"waits for", awaited(l.DeadLetter)})
	}
	pairs = append(pairs, [][2]string{
		{"record", fmt.Sprintf("partition %d of %s, offset %d", l.Partition, readable.Name(l.Topic), l.Offset)},
		{"event id", optional(l.EventID)},
		{"attempts", readable.Number(int64(l.Attempts))},
		{"failed", optionalTime(l.FailedAt)},
	}...)
	if l.ResolvedAt != nil {
		pairs = append(pairs, [2]string{"resolved", readable.Timestamp(*l.ResolvedAt)})
	}
	if l.RecordTime != nil {
		pairs = append(pairs, [2]string{"record time", readable.Timestamp(*l.RecordTime)})
	}
	pairs = append(pairs,
		[2]string{"claim id", orDash(l.ClaimID)},
		[2]string{"error", escapeLines(l.Error)},
		[2]string{"key", bytesOnLine(l.Key)})
	for _, header := range l.Headers {
		pairs = append(pairs, [2]string{"header", bytesOnLine(header.Key) + ": " + bytesOnLine(header.Value)})
	}

	return facts(append(pairs, [2]string{"value", bytesOnLines(l.Value)})...)
}

func orDash(id uuid.NullUUID) string {
	if !id.Valid {
		return "-"
	}

	return id.UUID.String()
}

package cli

import (
	"context"
	"log/slog"
	"reflect"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

// withTables runs fn with a client of the guard's tables, if they are there and current.
func (a *app) withTables(command *cobra.Command, fn func(ctx context.Context, c *ops.Client) error) error {
	return a.withClient(command, func(ctx context.Context, c *ops.Client) error {
		if err := c.Check(ctx); err != nil {
			return err
		}

		return fn(ctx, c)
	})
}

// withClient is withTables for commands that need no tables.
func (a *app) withClient(command *cobra.Command, fn func(ctx context.Context, c *ops.Client) error) error {
	return a.withPool(command, func(ctx context.Context, pool *pgxpool.Pool) error {
		c, err := ops.New(pool, ops.Config{Schema: a.settings.schema, Logger: a.logger()})
		if err != nil {
			return err
		}

		return fn(ctx, c)
	})
}

// schemaFlag is what a suggested command needs behind it to be about the same schema.
func (a *app) schemaFlag() string { return readable.SchemaFlag(a.settings.schema) }

// finish prints what was done, also where an error or a signal ended the work early. A result that is zero
// says that nothing was begun.
func (a *app) finish(result any, text string, err error) error {
	if err != nil && reflect.ValueOf(result).IsZero() {
		return err
	}
	if printErr := a.print(result, text); err == nil {
		err = printErr
	}

	return err
}

// logger tells people about retries.
func (a *app) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(a.Stderr, &slog.HandlerOptions{
		Level: slog.LevelWarn,
		ReplaceAttr: func(_ []string, attr slog.Attr) slog.Attr {
			if err, ok := attr.Value.Any().(error); ok {
				attr.Value = slog.StringValue(a.errorText(err))
			}

			return attr
		},
	}))
}

package ops

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// Consumer is a registered consumer.
type Consumer struct {
	Name      string    `json:"consumer"`
	Retention Seconds   `json:"retention_seconds"`
	CreatedAt time.Time `json:"created_at"`
	Group     *string   `json:"group"` // nil: no Kafka group has used it
	Cluster   *string   `json:"cluster"`
	Closed    *string   `json:"closed"` // what is being done to it ("deleted", "renamed to …"); nil: nothing
	Pause     *Pause    `json:"pause"`  // nil: it is not paused

	id int64
}

func newConsumer(row db.ConsumerListRow) Consumer {
	return Consumer{
		Name: row.Name, Retention: Seconds(retention(row.RetentionMicros)), CreatedAt: utc(row.CreatedMicros),
		Group: row.BoundGroup, Cluster: row.BoundCluster, Closed: row.Closed,
		Pause: newPause(row.PausedMicros, row.PausedBy, row.PauseReason), id: row.ID,
	}
}

// Consumers lists all consumers by name.
func (c *Client) Consumers(ctx context.Context) ([]Consumer, error) {
	rows, err := c.queries.ConsumerList(ctx, c.conn)
	if err != nil {
		return nil, c.failed(ctx, "list the consumers", err)
	}
	all := make([]Consumer, len(rows))
	for i, row := range rows {
		all[i] = newConsumer(row)
	}

	return all, nil
}

// Consumer returns one consumer. The error is ErrUnknownConsumer if it is not registered.
func (c *Client) Consumer(ctx context.Context, name string) (Consumer, error) {
	return c.consumer(ctx, name)
}

// consumer looks up a consumer that must be there: the guard would register an unknown one, a mistyped
// one too.
func (c *Client) consumer(ctx context.Context, name string) (Consumer, error) {
	one, found, err := c.lookUp(ctx, c.conn, name)
	if err != nil || found {
		return one, err
	}
	all, err := c.Consumers(ctx)
	if err != nil {
		return Consumer{}, err
	}
	registered := "No consumer is registered."
	if len(all) > 0 {
		names := make([]string, len(all))
		for i, one := range all {
			names[i] = readable.Name(one.Name)
		}
		registered = "Registered are: " + strings.Join(names, ", ")
	}

	return Consumer{}, refuse(ErrUnknownConsumer,
		"the consumer %s is not registered\n%s\nIf the name is right, register it with \"idemctl consumer register %s --retention 7d%s\".",
		readable.Name(name), registered, readable.ShellWord(name), c.schemaFlag())
}

// lookUp reports whether there is a consumer of that name.
func (c *Client) lookUp(ctx context.Context, conn db.DBTX, name string) (Consumer, bool, error) {
	if !tables.IsText(name) {
		return Consumer{}, false, nil // PostgreSQL has no such text.
	}
	row, err := c.queries.ConsumerByName(ctx, conn, name)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return Consumer{}, false, nil
	case err != nil:
		return Consumer{}, false, c.failed(ctx, "look up the consumer", err)
	default:
		return newConsumer(db.ConsumerListRow(row)), true, nil
	}
}

// RegisterResult is a consumer with its retention.
type RegisterResult struct {
	Consumer  string  `json:"consumer"`
	Retention Seconds `json:"retention_seconds"`
}

// RegisterConsumer registers a consumer before its service first runs. Registering it again with the same
// retention changes nothing; with another one the error is ErrConsumerExists.
func (c *Client) RegisterConsumer(ctx context.Context, name string, retention time.Duration) (RegisterResult, error) {
	if err := checkRetention(retention); err != nil {
		return RegisterResult{}, err
	}
	guard, err := idem.New(c.pool, idem.Config{Consumer: name, Schema: c.schema, Retention: retention, Logger: c.log})
	if err != nil {
		return RegisterResult{}, invalid("%w", err)
	}
	err = guard.Register(ctx)
	var conflict *idem.RetentionConflictError
	if errors.As(err, &conflict) {
		return RegisterResult{}, refuse(ErrConsumerExists,
			"%s is registered already, with a retention of %s; to change it run \"idemctl consumer set-retention %s %s%s\"",
			readable.Name(name), readable.Duration(conflict.Registered), readable.ShellWord(name), readable.Duration(retention), c.schemaFlag())
	}
	if err != nil {
		return RegisterResult{}, fmt.Errorf("register the consumer: %w", err)
	}

	return RegisterResult{Consumer: name, Retention: Seconds(retention)}, nil
}

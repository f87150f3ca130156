package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newCheckpoint(a *app) *cobra.Command {
	return group("checkpoint", "List and reset how far each partition is processed",
		`A checkpoint says how far a consumer has processed a partition: all records before NEXT have
taken effect. It advances in the transactions that process the records, and only by the latest
owner of the partition; EPOCH counts the owners.`,
		newCheckpointList(a), newCheckpointReset(a))
}

func newCheckpointList(a *app) *cobra.Command {
	var topic string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the checkpoints",
		Long: `Lists the checkpoints of all consumers and topics, or of those that are named. ACQUIRED is when
the latest owner acquired the partition, OWNER its host and process.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listCheckpoints(command, topic) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to look at (default: all)")
	command.Flags().StringVarP(&topic, "topic", "t", "", "`TOPIC` to look at (default: all)")

	return command
}

type checkpointList []listedCheckpoint

type listedCheckpoint struct {
	Consumer   string    `json:"consumer"`
	Topic      string    `json:"topic"`
	Partition  int32     `json:"partition"`
	NextOffset int64     `json:"next_offset"`
	Epoch      int64     `json:"epoch"`
	AcquiredAt time.Time `json:"acquired_at"`
	Owner      *string   `json:"owner"`    // null if it did not tell
	TopicID    *string   `json:"topic_id"` // null if Kafka's id of the topic is not known
}

func (l checkpointList) text() string {
	if len(l) == 0 {
		return "There is no checkpoint: a consumer that keeps them makes one for each partition that it takes over.\n"
	}
	t := table{columns: []column{
		consumerColumn, {name: "TOPIC"}, {name: "PARTITION", number: true}, {name: "NEXT", number: true},
		{name: "EPOCH", number: true}, {name: "ACQUIRED"}, {name: "OWNER"},
	}}
	for _, w := range l {
		// Offsets and epochs are numbers to copy, so they have no commas.
		t.row(printable(w.Consumer), printable(w.Topic), decimal(w.Partition), decimal(w.NextOffset),
			decimal(w.Epoch), timestamp(w.AcquiredAt), optional(w.Owner))
	}

	return t.String()
}

// decimal writes a number as commands take it.
func decimal[N int32 | int64](n N) string { return strconv.FormatInt(int64(n), 10) }

// optional writes text from the database that may be missing.
func optional(text *string) string {
	if text == nil {
		return "-"
	}

	return printable(*text)
}

func (a *app) listCheckpoints(command *cobra.Command, topic string) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		if a.settings.consumer != "" {
			if _, err := s.consumer(ctx, a.settings.consumer); err != nil {
				return err
			}
		}
		list, err := s.checkpoints(ctx, a.settings.consumer, topic)
		if err != nil {
			return err
		}

		return a.print(list)
	})
}

// checkpoints are those of a consumer and a topic; an empty name stands for all.
func (s *store) checkpoints(ctx context.Context, consumer, topic string) (checkpointList, error) {
	rows, err := s.queries.CheckpointList(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("list the checkpoints: %w", err)
	}
	list := checkpointList{}
	for _, row := range rows {
		if consumer != "" && row.Consumer != consumer || topic != "" && row.Topic != topic {
			continue
		}
		w := listedCheckpoint{
			Consumer: row.Consumer, Topic: row.Topic, Partition: row.Partition, NextOffset: row.NextOffset,
			Epoch: row.Epoch, AcquiredAt: row.AcquiredAt.UTC(), Owner: row.Owner,
		}
		if row.TopicID.Valid {
			id := row.TopicID.UUID.String()
			w.TopicID = &id
		}
		list = append(list, w)
	}

	return list, nil
}

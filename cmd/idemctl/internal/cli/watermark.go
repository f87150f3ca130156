package cli

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/spf13/cobra"
)

func newWatermark(a *app) *cobra.Command {
	return group("watermark", "List and reset how far each partition is processed",
		`A watermark says how far a consumer has processed a partition: all records before NEXT have
taken effect. It advances in the transactions that process the records, and only by the latest
owner of the partition, whose number is EPOCH.`,
		newWatermarkList(a), newWatermarkReset(a))
}

func newWatermarkList(a *app) *cobra.Command {
	var topic string
	command := &cobra.Command{
		Use:   "list",
		Short: "List the watermarks",
		Long: `Lists the watermarks of all consumers and topics, or of those that are named. TAKEN is when the
latest owner took over, OWNER its host and process.`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.listWatermarks(command, topic) },
	}
	a.consumerFlag(command, "`NAME` of the consumer to look at (default: all)")
	command.Flags().StringVarP(&topic, "topic", "t", "", "`TOPIC` to look at (default: all)")

	return command
}

type watermarkList []listedWatermark

type listedWatermark struct {
	Consumer   string    `json:"consumer"`
	Topic      string    `json:"topic"`
	Partition  int32     `json:"partition"`
	NextOffset int64     `json:"next_offset"`
	Epoch      int64     `json:"epoch"`
	TakenAt    time.Time `json:"taken_at"`
	Owner      *string   `json:"owner"`    // null if it did not tell
	TopicID    *string   `json:"topic_id"` // null if Kafka's id of the topic is not known
}

func (l watermarkList) text() string {
	if len(l) == 0 {
		return "There is no watermark: a consumer that keeps them makes one for each partition that it takes over.\n"
	}
	t := table{columns: []column{
		consumerColumn, {name: "TOPIC"}, {name: "PARTITION", number: true}, {name: "NEXT", number: true},
		{name: "EPOCH", number: true}, {name: "TAKEN"}, {name: "OWNER"},
	}}
	for _, w := range l {
		// Offsets and epochs are numbers to copy, so they have no commas.
		t.row(printable(w.Consumer), printable(w.Topic), decimal(w.Partition), decimal(w.NextOffset),
			decimal(w.Epoch), timestamp(w.TakenAt), optional(w.Owner))
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

func (a *app) listWatermarks(command *cobra.Command, topic string) error {
	return a.withStore(command, func(ctx context.Context, s *store) error {
		if a.settings.consumer != "" {
			if _, err := s.consumer(ctx, a.settings.consumer); err != nil {
				return err
			}
		}
		list, err := s.watermarks(ctx, a.settings.consumer, topic)
		if err != nil {
			return err
		}

		return a.print(list)
	})
}

// watermarks are those of a consumer and a topic; an empty name stands for all.
func (s *store) watermarks(ctx context.Context, consumer, topic string) (watermarkList, error) {
	rows, err := s.queries.OffsetList(ctx, s.conn)
	if err != nil {
		return nil, fmt.Errorf("list the watermarks: %w", err)
	}
	list := watermarkList{}
	for _, row := range rows {
		if consumer != "" && row.Consumer != consumer || topic != "" && row.Topic != topic {
			continue
		}
		w := listedWatermark{
			Consumer: row.Consumer, Topic: row.Topic, Partition: row.Partition, NextOffset: row.NextOffset,
			Epoch: row.Epoch, TakenAt: row.TakenAt.UTC(), Owner: row.Owner,
		}
		if row.TopicID.Valid {
			id := row.TopicID.UUID.String()
			w.TopicID = &id
		}
		list = append(list, w)
	}

	return list, nil
}

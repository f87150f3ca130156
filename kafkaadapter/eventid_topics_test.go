package kafkaadapter_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

func TestInTopic(t *testing.T) {
	t.Parallel()
	field := kafkaadapter.PayloadField("id")
	in := func(topic, value string) kafka.Message { return kafka.Message{Topic: topic, Value: []byte(value)} }
	empty := func(kafka.Message) (string, error) { return "", nil }
	testIDs(t, map[string]idCase{
		"topic":              {kafkaadapter.InTopic(field), in("orders", `{"id":1}`), "6:orders:1", ""},
		"other topic":        {kafkaadapter.InTopic(field), in("refunds", `{"id":1}`), "7:refunds:1", ""},
		"name in bytes":      {kafkaadapter.InTopic(field), in("ö", `{"id":1}`), "2:ö:1", ""},
		"no id":              {kafkaadapter.InTopic(field), in("orders", `{}`), "", `the field "id" of the payload: it does not exist`},
		"empty id":           {kafkaadapter.InTopic(empty), in("orders", `{}`), "", "returned an empty id"},
		"nil":                {kafkaadapter.InTopic(nil), in("orders", `{}`), "", "the strategy of InTopic is nil"},
		"as it is":           {kafkaadapter.AcrossTopics(field), in("orders", `{"id":1}`), "1", ""},
		"as it is, no id":    {kafkaadapter.AcrossTopics(field), in("orders", `{}`), "", "it does not exist"},
		"across topics, nil": {kafkaadapter.AcrossTopics(nil), in("orders", `{}`), "", "the strategy of AcrossTopics is nil"},
	})
}

// For several topics New takes only strategies of which it is known what their ids are unique in.
func TestSeveralTopicsNeedIDsThatAreUniqueAcrossThem(t *testing.T) {
	t.Parallel()
	guard := newGuard(t)
	own := func(kafka.Message) (string, error) { return "1", nil }
	unsettled := map[string]kafkaadapter.EventID{
		"PayloadField": kafkaadapter.PayloadField("id"), "ContentHash": kafkaadapter.ContentHash(kafkaadapter.WithKey()), "own": own,
		"FirstOf": kafkaadapter.FirstOf(kafkaadapter.Header("id"), kafkaadapter.PayloadField("id")),
	}
	settled := map[string]kafkaadapter.EventID{
		"default": nil, "Header": kafkaadapter.Header("id"), "TopicPartitionOffset": kafkaadapter.TopicPartitionOffset(),
		"CloudEvents": kafkaadapter.CloudEvents(), "DebeziumOutbox": kafkaadapter.DebeziumOutbox(), "Watermill": kafkaadapter.Watermill(),
		"FirstOf settled ones": kafkaadapter.FirstOf(kafkaadapter.Header("id"), kafkaadapter.InTopic(own)),
	}
	for name, strategy := range unsettled {
		settled["InTopic "+name], settled["AcrossTopics "+name] = kafkaadapter.InTopic(strategy), kafkaadapter.AcrossTopics(strategy)
	}
	several := map[string]func(*kafkaadapter.Config){
		"topics":  func(c *kafkaadapter.Config) { c.Topics = []string{"orders", "refunds"} },
		"pattern": func(c *kafkaadapter.Config) { c.Topics, c.TopicPattern = nil, regexp.MustCompile("^orders$") },
	}
	try := func(strategy kafkaadapter.EventID, change func(*kafkaadapter.Config)) error {
		config := valid()
		config.EventID = strategy
		change(&config)
		_, err := kafkaadapter.New(guard, config)

		return err
	}
	for many, change := range several {
		for name, strategy := range unsettled {
			if err := try(strategy, change); !errors.Is(err, kafkaadapter.ErrInvalidConfig) || !strings.Contains(err.Error(), "InTopic") {
				t.Errorf("%s, %s: %v", name, many, err)
			}
			byCheckpoint := func(c *kafkaadapter.Config) {
				change(c)
				c.Mode = kafkaadapter.ByCheckpoint
			}
			if err := try(strategy, byCheckpoint); err != nil {
				t.Errorf("%s, %s, without ids: %v", name, many, err)
			}
		}
		for name, strategy := range settled {
			if err := try(strategy, change); err != nil {
				t.Errorf("%s, %s: %v", name, many, err)
			}
		}
	}
	for name, strategy := range unsettled {
		if err := try(strategy, func(*kafkaadapter.Config) {}); err != nil {
			t.Errorf("%s, one topic: %v", name, err)
		}
	}
}

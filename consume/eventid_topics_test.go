package consume_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestInTopic(t *testing.T) {
	t.Parallel()
	field := consume.PayloadField("id")
	in := func(topic, value string) consume.Record { return consume.Record{Topic: topic, Value: []byte(value)} }
	empty := func(consume.Record) (string, error) { return "", nil }
	testIDs(t, map[string]idCase{
		"topic":              {consume.InTopic(field), in("orders", `{"id":1}`), "6:orders:1", ""},
		"other topic":        {consume.InTopic(field), in("refunds", `{"id":1}`), "7:refunds:1", ""},
		"name in bytes":      {consume.InTopic(field), in("ö", `{"id":1}`), "2:ö:1", ""},
		"no id":              {consume.InTopic(field), in("orders", `{}`), "", `the field "id" of the payload: it does not exist`},
		"empty id":           {consume.InTopic(empty), in("orders", `{}`), "", "returned an empty id"},
		"nil":                {consume.InTopic(nil), in("orders", `{}`), "", "the strategy of InTopic is nil"},
		"as it is":           {consume.AcrossTopics(field), in("orders", `{"id":1}`), "1", ""},
		"as it is, no id":    {consume.AcrossTopics(field), in("orders", `{}`), "", "it does not exist"},
		"across topics, nil": {consume.AcrossTopics(nil), in("orders", `{}`), "", "the strategy of AcrossTopics is nil"},
	})
}

// For several topics Complete takes only strategies of which it is known what their ids are unique in.
func TestSeveralTopicsNeedIDsThatAreUniqueAcrossThem(t *testing.T) {
	t.Parallel()
	own := func(consume.Record) (string, error) { return "1", nil }
	unsettled := map[string]consume.EventID{
		"PayloadField": consume.PayloadField("id"), "ContentHash": consume.ContentHash(consume.WithKey()), "own": own,
		"FirstOf": consume.FirstOf(consume.Header("id"), consume.PayloadField("id")),
	}
	settled := map[string]consume.EventID{
		"default": nil, "Header": consume.Header("id"), "TopicPartitionOffset": consume.TopicPartitionOffset(),
		"CloudEvents": consume.CloudEvents(), "DebeziumOutbox": consume.DebeziumOutbox(), "Watermill": consume.Watermill(),
		"FirstOf settled ones": consume.FirstOf(consume.Header("id"), consume.InTopic(own)),
	}
	for name, strategy := range unsettled {
		settled["InTopic "+name], settled["AcrossTopics "+name] = consume.InTopic(strategy), consume.AcrossTopics(strategy)
	}
	try := func(strategy consume.EventID, mode consume.Mode, several bool) error {
		config := valid()
		config.EventID, config.Mode = strategy, mode
		_, err := config.Complete(several)

		return err
	}
	for name, strategy := range unsettled {
		if err := try(strategy, consume.ByEventIDAndCheckpoint, true); !errors.Is(err, consume.ErrInvalidConfig) || !strings.Contains(err.Error(), "InTopic") {
			t.Errorf("%s: %v", name, err)
		}
		if err := try(strategy, consume.ByCheckpoint, true); err != nil {
			t.Errorf("%s, without ids: %v", name, err)
		}
		if err := try(strategy, consume.ByEventIDAndCheckpoint, false); err != nil {
			t.Errorf("%s, one topic: %v", name, err)
		}
	}
	for name, strategy := range settled {
		if err := try(strategy, consume.ByEventIDAndCheckpoint, true); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

package console

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/nova-events/idempotent-consumer/ops"
)

// outboxData is what the outbox holds, and those of its records that Kafka refuses or that wait behind them. An empty topic and an empty
// state stand for all.
type outboxData struct {
	Topic, State string
	States       []ops.OutboxState
	Now          *snapshot
	List         []ops.OutboxRecord
	More         bool
}

func (c *console) outbox(w http.ResponseWriter, r *http.Request) error {
	d := outboxData{Topic: r.Form.Get("topic"), State: r.Form.Get("state"), States: ops.OutboxStates(), Now: c.live.now(r.Context())}
	if d.Now.Err != nil {
		return d.Now.Err
	}
	chosen := ops.OutboxFilter{Topic: d.Topic, Limit: maxListed + 1}
	if d.State != "" {
		chosen.States = []ops.OutboxState{ops.OutboxState(d.State)}
	}
	list, err := c.Client.OutboxRecords(r.Context(), chosen)
	if err != nil {
		return err
	}
	d.List, d.More = atMost(list, maxListed)

	return c.show(w, r, "outbox", d)
}

// atMost cuts a list, and reports whether it had more.
func atMost[T any](list []T, n int) ([]T, bool) { return list[:min(len(list), n)], len(list) > n }

type outboxRecordData struct {
	ops.OutboxRecord

	ShownKey payload
}

// Decidable reports whether somebody has to decide about it.
func (d outboxRecordData) Decidable() bool { return d.State == ops.OutboxFailed }

func (c *console) outboxRecord(w http.ResponseWriter, r *http.Request) error {
	ids, err := recordIDs(r.Form)
	if err != nil {
		return err
	}
	list, err := c.Client.OutboxRecords(r.Context(), ops.OutboxFilter{IDs: ids})
	if err != nil {
		return err
	}
	if len(list) != 1 {
		c.fail(w, r, http.StatusNotFound, "The outbox holds no such record that is failed or parked. It may be in Kafka by now, or discarded.")

		return nil
	}

	return c.show(w, r, "outboxrecord", outboxRecordData{list[0], newPayload(list[0].Key, userOf(r.Context()).Payloads)})
}

// recordIDs are the records that a form names; there is at least one.
func recordIDs(form url.Values) (ids []int64, err error) {
	for _, text := range form["id"] {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, badForm("%.40q is no number of a record", text)
		}
		ids = append(ids, id)
	}
	if ids == nil {
		return nil, badForm("no record is named")
	}

	return ids, nil
}

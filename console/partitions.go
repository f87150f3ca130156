package console

import (
	"net/http"
	"net/url"
	"slices"
)

// partitionsData is the partitions of a consumer and a topic. Empty names stand for all.
type partitionsData struct {
	Consumer, Topic string
	Consumers       []consumerNow
	Partitions      []partitionNow
	Now             *snapshot
}

// Live is where the page is told what moves.
func (d partitionsData) Live() string {
	return "live?" + url.Values{"view": {"partitions"}, consumerField: {d.Consumer}, "topic": {d.Topic}}.Encode()
}

func partitionsOf(s *snapshot, r *http.Request) partitionsData {
	d := partitionsData{Consumer: r.Form.Get(consumerField), Topic: r.Form.Get("topic"), Consumers: s.Consumers, Now: s}
	d.Partitions = slices.DeleteFunc(slices.Clone(s.Partitions), func(p partitionNow) bool {
		return d.Consumer != "" && p.Consumer != d.Consumer || d.Topic != "" && p.Topic != d.Topic
	})

	return d
}

func (c *console) partitions(w http.ResponseWriter, r *http.Request) error {
	now := c.live.now(r.Context())
	if now.Err != nil {
		return now.Err
	}

	return c.show(w, r, "partitions", partitionsOf(now, r))
}

package console

import (
	"net/http"

	"github.com/nova-events/idempotent-consumer/ops"
)

// eventData is what became of an event; without an id nobody has asked yet.
type eventData struct {
	ID, Consumer string
	Consumers    []ops.Consumer
	Story        ops.Story
}

// Phase says whether an entry is past, what is the case now, or to come.
func (d eventData) Phase(e ops.Entry) string {
	switch {
	case e.At.Before(d.Story.ToldAt):
		return "past"
	case e.At.Equal(d.Story.ToldAt):
		return "now"
	default:
		return "to come"
	}
}

func (c *console) event(w http.ResponseWriter, r *http.Request) error {
	d := eventData{ID: r.Form.Get("id"), Consumer: r.Form.Get(consumerField)}
	var err error
	if d.Consumers, err = c.Client.Consumers(r.Context()); err != nil {
		return err
	}
	if d.ID != "" {
		if d.Story, err = c.Client.Explain(r.Context(), d.Consumer, d.ID); err != nil {
			return err
		}
	}

	return c.show(w, r, "event", d)
}

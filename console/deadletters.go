package console

import (
	"net/http"
	"slices"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

const (
	// maxListed is how many dead letters a page lists, and maxGroups how many groups of them.
	maxListed = 100
	maxGroups = 12

	// maxShown is how many bytes of a key or a value are shown.
	maxShown = 16 << 10
	// maxHeaders is how many headers of a record are.
	maxHeaders = 100
)

type deadLettersData struct {
	Filter    filter
	Consumers []ops.Consumer
	States    []idem.DeadLetterState
	Groups    []ops.DeadLetterGroup
	Total     int64 // that pass the filter
	List      []ops.DeadLetter
}

func (c *console) deadLetters(w http.ResponseWriter, r *http.Request) error {
	d := deadLettersData{Filter: newFilter(r.Form), States: ops.AllStates()}
	chosen, err := d.Filter.choice(ops.AllStates())
	if err != nil {
		return err
	}
	if d.Consumers, err = c.Client.Consumers(r.Context()); err != nil {
		return err
	}
	chosen.Limit = maxGroups
	if d.Groups, d.Total, err = c.Client.DeadLetterGroups(r.Context(), chosen); err != nil {
		return err
	}
	chosen.Limit = maxListed
	if d.List, err = c.Client.DeadLetters(r.Context(), chosen); err != nil {
		return err
	}

	return c.show(w, r, "deadletters", d)
}

type deadLetterData struct {
	ops.DeadLetterRecord

	ShownKey, ShownValue payload
	ShownHeaders         []shownHeader
	MoreHeaders          int
}

type shownHeader struct{ Key, Value payload }

// Replayable and Discardable say what can be done to it.
func (d deadLetterData) Replayable() bool { return slices.Contains(ops.ReplayableStates(), d.State) }

func (d deadLetterData) Discardable() bool { return slices.Contains(ops.UnresolvedStates(), d.State) }

func (c *console) deadLetter(w http.ResponseWriter, r *http.Request) error {
	letter, err := c.Client.DeadLetter(r.Context(), r.Form.Get("id"))
	if err != nil {
		return err
	}
	may := userOf(r.Context()).Payloads
	d := deadLetterData{DeadLetterRecord: letter, ShownKey: newPayload(letter.Key, may), ShownValue: newPayload(letter.Value, may)}
	for i, h := range letter.Headers {
		if i == maxHeaders {
			d.MoreHeaders = len(letter.Headers) - i

			break
		}
		d.ShownHeaders = append(d.ShownHeaders, shownHeader{Key: newPayload(h.Key, true), Value: newPayload(h.Value, may)})
	}

	return c.show(w, r, "deadletter", d)
}

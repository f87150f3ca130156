package console

import (
	"maps"
	"net/url"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// consumerField is a consumer in forms and in the log.
const consumerField = "consumer"

// filter is what the fields of a form choose among the dead letters. Empty fields choose all, but for the state:
// without one, those that are unresolved are meant.
type filter struct {
	Consumer, Topic, State, EventID, Error, Shape, Since, Until string
}

func newFilter(form url.Values) filter {
	return filter{
		Consumer: form.Get("consumer"), Topic: form.Get("topic"), State: form.Get("state"), EventID: form.Get("event"),
		Error: form.Get("error"), Shape: form.Get("shape"), Since: form.Get("since"), Until: form.Get("until"),
	}
}

// Fields are those that are not empty, by their names in a form.
func (f filter) Fields() map[string]string {
	fields := map[string]string{
		consumerField: f.Consumer, "topic": f.Topic, "state": f.State, "event": f.EventID, "error": f.Error, "shape": f.Shape, "since": f.Since, "until": f.Until,
	}
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })

	return fields
}

// Address is that of the page of those that the filter chooses.
func (f filter) Address() string {
	values := url.Values{}
	for name, value := range f.Fields() {
		values.Set(name, value)
	}

	return "deadletters?" + values.Encode()
}

// Of is the filter with one more condition.
func (f filter) Of(shape string) filter {
	f.Shape = shape

	return f
}

const allStates = "all"

// choice is what the filter chooses among the dead letters in some states; none of them may be left.
func (f filter) choice(allowed []idem.DeadLetterState) (ops.DeadLetterFilter, error) {
	chosen := ops.DeadLetterFilter{Consumer: f.Consumer, Topic: f.Topic, EventID: f.EventID, Error: f.Error, ErrorShape: f.Shape}
	of := ops.UnresolvedStates()
	switch f.State {
	case "":
	case allStates:
		of = ops.AllStates()
	default:
		of = []idem.DeadLetterState{idem.DeadLetterState(f.State)}
	}
	for _, state := range of {
		if slices.Contains(allowed, state) {
			chosen.States = append(chosen.States, state)
		}
	}
	if chosen.States == nil {
		return chosen, badForm("dead letters in the state %q cannot be chosen here", f.State)
	}
	for _, field := range []struct {
		text string
		time *time.Time
	}{{f.Since, &chosen.Since}, {f.Until, &chosen.Until}} {
		if field.text == "" {
			continue
		}
		t, err := parseTime(field.text)
		if err != nil {
			return chosen, err
		}
		*field.time = t
	}

	return chosen, chosen.Validate()
}

// timeLayout is how forms write times, in UTC.
const timeLayout = "2006-01-02T15:04:05.999999"

func parseTime(text string) (time.Time, error) {
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}

	return time.Time{}, badForm("%.40q is not a time: write 2026-01-31T12:00, in UTC", text)
}

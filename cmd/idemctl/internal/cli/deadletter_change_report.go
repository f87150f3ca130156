package cli

import (
	"fmt"
	"strings"

	"github.com/nova-events/idempotent-consumer/idem"
)

type letterChangeReport struct {
	Letters   int           `json:"letters"` // that were to be changed
	Changed   int64         `json:"changed"`
	Unchanged []letterState `json:"unchanged"` // because of the state that they have
	Unknown   []int64       `json:"unknown"`
	Complete  bool          `json:"complete"`

	done  string
	after string
}

func (r letterChangeReport) text() string {
	text := leftAlone(r.Unchanged)
	switch {
	case !r.Complete:
		text += fmt.Sprintf("%s of %s %s, the others not yet; the same command goes on.\n", number(r.Changed), letters(int64(r.Letters)), r.done)
	case r.Changed == 0:
		text += "No dead letter was changed.\n"
	default:
		text += letters(r.Changed) + " " + r.done + ".\n"
	}

	return text + r.after
}

// letterDryRun is what a command would change.
type letterDryRun struct {
	Letters   letterList    `json:"letters"`
	Unchanged []letterState `json:"unchanged"`
	Unknown   []int64       `json:"unknown"`

	done string
}

func (r letterDryRun) text() string {
	text := leftAlone(r.Unchanged)
	if len(r.Letters) > 0 {
		text = r.Letters.text() + "\n" + text
	}

	return text + letters(int64(len(r.Letters))) + " would be " + r.done + "; nothing was changed.\n"
}

func leftAlone(all []letterState) string {
	var b strings.Builder
	for _, l := range all {
		fmt.Fprintf(&b, "Dead letter %d is left alone: %s.\n", l.ID, stateInWords(l.State))
	}

	return b.String()
}

func stateInWords(state string) string {
	switch idem.DeadLetterState(state) {
	case idem.DeadLetterOpen:
		return "it is open"
	case idem.DeadLetterParked:
		return "it is parked, and follows by itself when those of its key before it are resolved"
	case idem.DeadLetterReplay:
		return "it is to be replayed already (replay)"
	case idem.DeadLetterReplayed, idem.DeadLetterDiscarded, idem.DeadLetterSuperseded:
		return "it is " + state + " already"
	default:
		return "its state is " + printable(state)
	}
}

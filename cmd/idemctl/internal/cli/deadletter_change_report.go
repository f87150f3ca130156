package cli

import (
	"fmt"
	"strings"

	"github.com/nova-events/idempotent-consumer/idem"
)

type deadLetterChangeReport struct {
	DeadLetters int               `json:"dead_letters"` // that were to be changed
	Changed     int64             `json:"changed"`
	Unchanged   []deadLetterState `json:"unchanged"` // because of the state that they have
	Unknown     []string          `json:"unknown"`
	Complete    bool              `json:"complete"`

	done  string
	after string
}

func (r deadLetterChangeReport) text() string {
	text := leftAlone(r.Unchanged)
	switch {
	case !r.Complete:
		text += fmt.Sprintf("%s of %s %s, the others not yet; run the same command again.\n", number(r.Changed), deadLetters(int64(r.DeadLetters)), r.done)
	case r.Changed == 0:
		text += "No dead letter was changed.\n"
	default:
		text += deadLetters(r.Changed) + " " + r.done + ".\n"
	}

	return text + r.after
}

// deadLetterDryRun is what a command would change.
type deadLetterDryRun struct {
	DeadLetters deadLetterList    `json:"dead_letters"`
	Unchanged   []deadLetterState `json:"unchanged"`
	Unknown     []string          `json:"unknown"`

	done string
}

func (r deadLetterDryRun) text() string {
	text := leftAlone(r.Unchanged)
	if len(r.DeadLetters) > 0 {
		text = r.DeadLetters.text() + "\n" + text
	}

	return text + deadLetters(int64(len(r.DeadLetters))) + " would be " + r.done + "; nothing was changed.\n"
}

func leftAlone(all []deadLetterState) string {
	var b strings.Builder
	for _, l := range all {
		fmt.Fprintf(&b, "Dead letter %s is left alone: %s.\n", l.ID, stateInWords(l.State))
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
	case idem.DeadLetterReplayed, idem.DeadLetterDiscarded, idem.DeadLetterSuperseded, idem.DeadLetterExpired:
		return "it is " + state + " already"
	default:
		return "its state is " + printable(state)
	}
}

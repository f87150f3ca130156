package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

const chooseHelp = `Dead letters are chosen by their ids, or by the filters of "deadletter list"; --all means no filter.
The filters are applied once: dead letters that are stored meanwhile are not included. A dead letter in
another state, or one that somebody else changes meanwhile, is left alone and reported.`

// deadLetterChange is what a command does to dead letters.
type deadLetterChange struct {
	from       []idem.DeadLetterState // the states that it changes
	to         []idem.DeadLetterState // those of dead letters for which it was done before
	done       string                 // what the dead letters are after it, as a word
	alwaysAsks bool                   // also where dead letters are named
	plan       func(c *ops.Client, ctx context.Context, choice ops.DeadLetterChoice) (ops.DeadLetterPlan, error)
	apply      func(c *ops.Client, ctx context.Context, plan ops.DeadLetterPlan, progress ops.Progress) (ops.DeadLetterResult, error)
	warning    func(plan ops.DeadLetterPlan) string
	after      func(schemaFlag string) string // what there is to know then; may be nil
}

// deadLetterSelection is what the command line chooses.
type deadLetterSelection struct {
	flags  deadLetterFlags
	all    bool
	dryRun bool
}

// deadLetterChangeCommand adds to a command what those that change dead letters have in common.
func (a *app) deadLetterChangeCommand(command *cobra.Command, change deadLetterChange) *cobra.Command {
	var selection deadLetterSelection
	stateUsage := "a `STATE` of those that this changes (" + joined(change.from) + "), or all of them"
	a.addDeadLetterFlags(command, &selection.flags, change.from, "all", stateUsage, 0, "take at most `N`, the oldest first (0: all)")
	flags := command.Flags()
	flags.BoolVar(&selection.all, "all", false, "take all dead letters; no filter is given then")
	flags.BoolVarP(&selection.dryRun, "dry-run", "n", false, "only list what would be "+change.done)
	a.yesFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		choice, err := a.choice(command, args, selection, change.from)
		if err != nil {
			return err
		}

		return a.changeDeadLetters(command, choice, selection.dryRun, change)
	}

	return command
}

// choice finds out whether the command line chooses in one way, and in which.
func (a *app) choice(command *cobra.Command, args []string, l deadLetterSelection, from []idem.DeadLetterState) (ops.DeadLetterChoice, error) {
	byFilter, err := filtered(command)
	if err != nil {
		return ops.DeadLetterChoice{}, err
	}
	byFilter = byFilter || l.all
	switch limited := command.Flags().Changed("limit"); {
	case len(args) > 0 && (byFilter || limited):
		return ops.DeadLetterChoice{}, fail(exitUsage, "give ids or filters, not both")
	case len(args) == 0 && !byFilter:
		return ops.DeadLetterChoice{}, fail(exitUsage, "which dead letters? give ids, or filters, or --all")
	}
	choice := ops.DeadLetterChoice{IDs: args}
	if len(args) == 0 {
		if choice.Filter, err = l.flags.filter(from); err != nil {
			return choice, err
		}
		choice.Filter.Consumer = a.settings.consumer
	}

	return choice, choice.Validate()
}

func (a *app) changeDeadLetters(command *cobra.Command, choice ops.DeadLetterChoice, dryRun bool, change deadLetterChange) error {
	return a.withTables(command, func(ctx context.Context, c *ops.Client) error {
		plan, err := change.plan(c, ctx, choice)
		if err != nil {
			return err
		}
		if dryRun {
			return a.finish(plan, change.dryRunText(plan), cmp.Or(plan.Err(), change.nothing(plan.Unchanged, len(plan.DeadLetters))))
		}
		if len(plan.DeadLetters) > 0 && (change.alwaysAsks || len(choice.IDs) == 0) {
			if err := a.confirm(ctx, change.warning(plan)); err != nil {
				return err
			}
		}
		bar := a.progress("changing")
		defer bar.end()
		r, err := change.apply(c, ctx, plan, bar.set)
		bar.end()
		if err == nil {
			err = cmp.Or(plan.Err(), change.nothing(r.Unchanged, int(r.Changed)))
		}
		text := change.text(r)
		if r.Complete && r.Changed > 0 && change.after != nil {
			text += change.after(a.schemaFlag())
		}

		return a.finish(r, text, err)
	})
}

// nothing is the error of a command that can change none of the dead letters that it was given by their ids.
func (c deadLetterChange) nothing(unchanged []ops.DeadLetter, changed int) error {
	done := func(l ops.DeadLetter) bool { return slices.Contains(c.to, l.State) }
	switch {
	case changed > 0 || len(unchanged) == 0 || slices.ContainsFunc(unchanged, done):
		return nil
	case slices.ContainsFunc(unchanged, c.meanwhile):
		return fail(exitNotFound, "nothing is %s: what was to be was changed meanwhile; look at it again", c.done)
	}

	return fail(exitNotFound, "nothing is %s: no dead letter that was named is %s; \"idemctl reprocess\" has the record of a resolved one processed again",
		c.done, joined(c.from))
}

// meanwhile reports whether a dead letter that is left alone could have been changed: it is another one than was looked at.
func (c deadLetterChange) meanwhile(l ops.DeadLetter) bool { return slices.Contains(c.from, l.State) }

func (c deadLetterChange) text(r ops.DeadLetterResult) string {
	text := c.leftAlone(r.Unchanged)
	switch {
	case !r.Complete:
		text += fmt.Sprintf("%s of %s %s, the others not yet; run the same command again.\n", readable.Number(r.Changed), deadLetters(int64(r.DeadLetters)), c.done)
	case r.Changed == 0:
		text += "No dead letter was changed.\n"
	default:
		text += deadLetters(r.Changed) + " " + c.done + ".\n"
	}

	return text
}

func (c deadLetterChange) dryRunText(plan ops.DeadLetterPlan) string {
	text := c.leftAlone(plan.Unchanged)
	if len(plan.DeadLetters) > 0 {
		text = deadLettersText(plan.DeadLetters) + "\n" + text
	}

	return text + deadLetters(int64(len(plan.DeadLetters))) + " would be " + c.done + "; nothing was changed.\n"
}

func (c deadLetterChange) leftAlone(all []ops.DeadLetter) string {
	var b strings.Builder
	for _, l := range all {
		why := ""
		if c.meanwhile(l) {
			why = "it was changed meanwhile, "
		}
		fmt.Fprintf(&b, "Dead letter %s is left alone: %s%s.\n", l.ID, why, stateInWords(l))
	}

	return b.String()
}

func stateInWords(l ops.DeadLetter) string {
	switch l.State {
	case idem.DeadLetterOpen:
		return "it is open"
	case idem.DeadLetterParked:
		if l.Awaits != nil {
			return "it is parked, and follows by itself once " + awaited(l) + " is replayed or discarded"
		}

		return "it is parked"
	case idem.DeadLetterReplay:
		return "it is to be replayed already (replay)"
	case idem.DeadLetterReplayed, idem.DeadLetterDiscarded, idem.DeadLetterSuperseded, idem.DeadLetterExpired:
		return "it is " + string(l.State) + " already"
	default:
		return "its state is " + readable.Name(string(l.State))
	}
}

// sum counts dead letters for a question: how many, and of whom.
func sum(list []ops.DeadLetter) string {
	byConsumer := map[string]int{}
	for _, letter := range list {
		byConsumer[letter.Consumer]++
	}
	parts := make([]string, 0, len(byConsumer))
	for _, name := range slices.Sorted(maps.Keys(byConsumer)) {
		parts = append(parts, readable.Name(name)+": "+readable.Number(byConsumer[name]))
	}

	return deadLetters(int64(len(list))) + " (" + strings.Join(parts, ", ") + ")"
}

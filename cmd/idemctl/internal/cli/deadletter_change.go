package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/google/uuid"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

const chooseHelp = `Dead letters are chosen by their ids, or by the filters of "deadletter list"; --all stands for no filter.
What the filters choose is looked up once: dead letters that are stored meanwhile are not taken.
One in another state, or that somebody else changes meanwhile, is left alone and reported.`

// deadLetterChange is what a command does to dead letters.
type deadLetterChange struct {
	from       []idem.DeadLetterState // the states that it changes
	done       string                 // what the dead letters are after it, as a word
	alwaysAsks bool                   // also where dead letters are named
	// apply changes dead letters of one consumer, and returns the ids of those that it has changed.
	apply   func(ctx context.Context, s *store, of deadLetterList) ([]uuid.UUID, error)
	warning func(ctx context.Context, s *store, chosen deadLetterList) (string, error)
	after   func(s *store) string // what there is to know then; may be nil
}

// deadLetterSelection is what the command line chooses.
type deadLetterSelection struct {
	ids    []idPrefix
	filter deadLetterFilter
	all    bool
	dryRun bool
}

// deadLetterChangeCommand adds to a command what those that change dead letters have in common.
func (a *app) deadLetterChangeCommand(command *cobra.Command, change deadLetterChange) *cobra.Command {
	var selection deadLetterSelection
	stateUsage := "a `STATE` of those that this changes (" + joined(change.from) + "), or all of them"
	a.deadLetterFlags(command, &selection.filter, "all", stateUsage, 0, "take at most `N`, the oldest first (0: all)")
	flags := command.Flags()
	flags.BoolVar(&selection.all, "all", false, "take all dead letters, where no filter is given")
	flags.BoolVarP(&selection.dryRun, "dry-run", "n", false, "only list what would be "+change.done)
	a.yesFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := selection.read(command, args); err != nil {
			return err
		}

		return a.changeDeadLetters(command, selection, change)
	}

	return command
}

// read takes the ids and finds out whether the command line chooses in one way.
func (l *deadLetterSelection) read(command *cobra.Command, args []string) error {
	byFilter, err := filtered(command)
	if err != nil {
		return err
	}
	byFilter = byFilter || l.all
	switch limited := command.Flags().Changed("limit"); {
	case len(args) > 0 && (byFilter || limited):
		return fail(exitUsage, "give ids or filters, not both")
	case len(args) == 0 && !byFilter:
		return fail(exitUsage, "which dead letters? give ids, or filters, or --all")
	}
	for _, arg := range args {
		id, err := parseDeadLetterID(arg)
		if err != nil {
			return err
		}
		l.ids = append(l.ids, id)
	}

	return nil
}

// chosenDeadLetters are the dead letters that a command line is about.
type chosenDeadLetters struct {
	letters   deadLetterList // to be changed
	unchanged []deadLetterState
	unknown   []string
}

// deadLetterState is a dead letter that is left alone.
type deadLetterState struct {
	ID    uuid.UUID `json:"id"`
	State string    `json:"state"`
}

// choose looks up what the command line chooses.
func (s *store) choose(ctx context.Context, consumer string, l deadLetterSelection, from []idem.DeadLetterState) (chosenDeadLetters, error) {
	c := chosenDeadLetters{unchanged: []deadLetterState{}, unknown: []string{}}
	if l.ids == nil {
		params, err := l.filter.params(from)
		if err != nil {
			return c, err
		}
		params.OldestFirst = true
		c.letters, err = s.deadLetters(ctx, consumer, params)

		return c, err
	}
	ids, unknown, err := s.findAll(ctx, l.ids)
	if err != nil {
		return c, err
	}
	c.unknown = append(c.unknown, unknown...)
	all, err := s.deadLettersByID(ctx, ids)
	c.letters = deadLetterList{}
	for _, letter := range all {
		if slices.Contains(from, idem.DeadLetterState(letter.State)) {
			c.letters = append(c.letters, letter)
		} else {
			c.unchanged = append(c.unchanged, deadLetterState{ID: letter.ID, State: letter.State})
		}
	}

	return c, err
}

func (s *store) deadLettersByID(ctx context.Context, ids []uuid.UUID) (deadLetterList, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	states, err := deadLetterFilter{state: "all"}.states(allStates)
	if err != nil {
		return nil, err
	}

	return s.deadLetters(ctx, "", db.DeadLetterListParams{States: states, Ids: texts(ids), OldestFirst: true})
}

// err is the error of ids that no letter has.
func (c chosenDeadLetters) err() error {
	if len(c.unknown) == 0 {
		return nil
	}

	return errors.New("there is no dead letter " + strings.Join(c.unknown, ", "))
}

// sum counts dead letters for a question: how many, and of whom.
func (l deadLetterList) sum() string {
	byConsumer := map[string]int{}
	for _, letter := range l {
		byConsumer[letter.Consumer]++
	}
	parts := make([]string, 0, len(byConsumer))
	for _, name := range slices.Sorted(maps.Keys(byConsumer)) {
		parts = append(parts, printable(name)+": "+number(byConsumer[name]))
	}

	return deadLetters(int64(len(l))) + " (" + strings.Join(parts, ", ") + ")"
}

func (a *app) changeDeadLetters(command *cobra.Command, selection deadLetterSelection, change deadLetterChange) error {
	if selection.ids == nil { // Before a connection is made.
		if _, err := selection.filter.params(change.from); err != nil {
			return err
		}
	}

	return a.withStore(command, func(ctx context.Context, s *store) error {
		chosen, err := s.choose(ctx, a.settings.consumer, selection, change.from)
		if err != nil {
			return err
		}
		if selection.dryRun {
			return a.finish(deadLetterDryRun{DeadLetters: chosen.letters, Unchanged: chosen.unchanged, Unknown: chosen.unknown, done: change.done}, chosen.err())
		}
		if len(chosen.letters) > 0 && (change.alwaysAsks || selection.ids == nil) {
			warning, err := change.warning(ctx, s, chosen.letters)
			if err != nil {
				return err
			}
			if err := a.confirm(ctx, warning); err != nil {
				return err
			}
		}
		r, err := a.applyToDeadLetters(ctx, s, chosen, change)
		if err == nil {
			err = chosen.err()
		}

		return a.finish(r, err)
	})
}

func (a *app) applyToDeadLetters(ctx context.Context, s *store, chosen chosenDeadLetters, change deadLetterChange) (deadLetterChangeReport, error) {
	r := deadLetterChangeReport{DeadLetters: len(chosen.letters), Unchanged: chosen.unchanged, Unknown: chosen.unknown, done: change.done}
	var left []uuid.UUID
	err := inParts(a, "changing", chosen.letters, func(part []listedDeadLetter) error {
		for _, of := range deadLetterList(part).byConsumer() {
			changed, err := change.apply(ctx, s, of)
			if err != nil {
				return fmt.Errorf("change the dead letters: %w", err)
			}
			r.Changed += int64(len(changed))
			for _, letter := range of {
				if !slices.Contains(changed, letter.ID) {
					left = append(left, letter.ID)
				}
			}
		}

		return nil
	})
	if err != nil {
		return r, err
	}
	if len(left) > 0 { // Somebody else was faster.
		all, err := s.deadLettersByID(ctx, left)
		if err != nil {
			return r, err
		}
		for _, letter := range all {
			r.Unchanged = append(r.Unchanged, deadLetterState{ID: letter.ID, State: letter.State})
		}
	}
	r.Complete = true
	if change.after != nil && r.Changed > 0 {
		r.after = change.after(s)
	}

	return r, nil
}

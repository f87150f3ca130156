package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/db"
	"github.com/nova-events/idempotent-consumer/idem"
)

const chooseHelp = `Letters are chosen by their ids, or by the filters of "deadletter list"; --all stands for no filter.
What the filters choose is looked up once: letters that are stored meanwhile are not taken.
A letter in another state, or that somebody else changes meanwhile, is left alone and reported.`

// letterChange is what a command does to dead letters.
type letterChange struct {
	from       []idem.DeadLetterState // the states that it changes
	done       string                 // what the letters are after it, as a word
	alwaysAsks bool                   // also where letters are named
	// apply returns the ids of those that it has changed.
	apply   func(ctx context.Context, s *store, ids []int64) ([]int64, error)
	warning func(ctx context.Context, s *store, chosen letterList) (string, error)
	after   func(s *store) string // what there is to know then; may be nil
}

// letterSelection is what the command line chooses.
type letterSelection struct {
	ids    []int64
	filter letterFilter
	all    bool
	dryRun bool
}

// letterChangeCommand adds to a command what those that change letters have in common.
func (a *app) letterChangeCommand(command *cobra.Command, change letterChange) *cobra.Command {
	var selection letterSelection
	stateUsage := "a `STATE` of those that this changes (" + joined(change.from) + "), or all of them"
	a.letterFlags(command, &selection.filter, "all", stateUsage, 0, "take at most `N`, the oldest first (0: all)")
	flags := command.Flags()
	flags.BoolVar(&selection.all, "all", false, "take all letters, where no filter is given")
	flags.BoolVarP(&selection.dryRun, "dry-run", "n", false, "only list what would be "+change.done)
	a.yesFlag(command)
	command.RunE = func(command *cobra.Command, args []string) error {
		if err := selection.read(command, args); err != nil {
			return err
		}

		return a.changeLetters(command, selection, change)
	}

	return command
}

// read takes the ids and finds out whether the command line chooses in one way.
func (l *letterSelection) read(command *cobra.Command, args []string) error {
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
		id, err := parseLetterID(arg)
		if err != nil {
			return err
		}
		l.ids = append(l.ids, id)
	}
	slices.Sort(l.ids)
	l.ids = slices.Compact(l.ids)

	return nil
}

// chosenLetters are the letters that a command line is about.
type chosenLetters struct {
	letters   letterList // to be changed
	unchanged []letterState
	unknown   []int64
}

// letterState is a letter that is left alone.
type letterState struct {
	ID    int64  `json:"id"`
	State string `json:"state"`
}

// choose looks up what the command line chooses.
func (s *store) choose(ctx context.Context, consumer string, l letterSelection, from []idem.DeadLetterState) (chosenLetters, error) {
	c := chosenLetters{unchanged: []letterState{}, unknown: []int64{}}
	if l.ids == nil {
		params, err := l.filter.params(from)
		if err != nil {
			return c, err
		}
		params.OldestFirst = true
		c.letters, err = s.letters(ctx, consumer, params)

		return c, err
	}
	all, err := s.lettersByID(ctx, l.ids)
	if err != nil {
		return c, err
	}
	known := map[int64]bool{}
	c.letters = letterList{}
	for _, letter := range all {
		known[letter.ID] = true
		if slices.Contains(from, idem.DeadLetterState(letter.State)) {
			c.letters = append(c.letters, letter)
		} else {
			c.unchanged = append(c.unchanged, letterState{ID: letter.ID, State: letter.State})
		}
	}
	for _, id := range l.ids {
		if !known[id] {
			c.unknown = append(c.unknown, id)
		}
	}

	return c, nil
}

func (s *store) lettersByID(ctx context.Context, ids []int64) (letterList, error) {
	states, err := letterFilter{state: "all"}.states(allStates)
	if err != nil {
		return nil, err
	}

	return s.letters(ctx, "", db.DeadLetterListParams{States: states, Ids: ids, OldestFirst: true})
}

// err is the error of ids that no letter has.
func (c chosenLetters) err() error {
	if len(c.unknown) == 0 {
		return nil
	}
	ids := make([]string, len(c.unknown))
	for i, id := range c.unknown {
		ids[i] = decimal(id)
	}

	return errors.New("there is no dead letter " + strings.Join(ids, ", "))
}

func (l letterList) ids() []int64 {
	ids := make([]int64, len(l))
	for i, letter := range l {
		ids[i] = letter.ID
	}

	return ids
}

// sum counts letters for a question: how many, and of whom.
func (l letterList) sum() string {
	byConsumer := map[string]int{}
	for _, letter := range l {
		byConsumer[letter.Consumer]++
	}
	parts := make([]string, 0, len(byConsumer))
	for _, name := range slices.Sorted(maps.Keys(byConsumer)) {
		parts = append(parts, printable(name)+": "+number(byConsumer[name]))
	}

	return letters(int64(len(l))) + " (" + strings.Join(parts, ", ") + ")"
}

func (a *app) changeLetters(command *cobra.Command, selection letterSelection, change letterChange) error {
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
			return a.finish(letterDryRun{Letters: chosen.letters, Unchanged: chosen.unchanged, Unknown: chosen.unknown, done: change.done}, chosen.err())
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
		r, err := a.applyToLetters(ctx, s, chosen, change)
		if err == nil {
			err = chosen.err()
		}

		return a.finish(r, err)
	})
}

func (a *app) applyToLetters(ctx context.Context, s *store, chosen chosenLetters, change letterChange) (letterChangeReport, error) {
	ids := chosen.letters.ids()
	r := letterChangeReport{Letters: len(ids), Unchanged: chosen.unchanged, Unknown: chosen.unknown, done: change.done}
	var left []int64
	err := inParts(a, "changing", ids, func(part []int64) error {
		changed, err := change.apply(ctx, s, part)
		if err != nil {
			return fmt.Errorf("change the dead letters: %w", err)
		}
		r.Changed += int64(len(changed))
		slices.Sort(changed)
		for _, id := range part {
			if _, found := slices.BinarySearch(changed, id); !found {
				left = append(left, id)
			}
		}

		return nil
	})
	if err != nil {
		return r, err
	}
	if len(left) > 0 { // Somebody else was faster.
		all, err := s.lettersByID(ctx, left)
		if err != nil {
			return r, err
		}
		for _, letter := range all {
			r.Unchanged = append(r.Unchanged, letterState{ID: letter.ID, State: letter.State})
		}
	}
	r.Complete = true
	if change.after != nil && r.Changed > 0 {
		r.after = change.after(s)
	}

	return r, nil
}

package onceper_test

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/onceper"
)

// What is told of a trouble: when it begins, each minute, and when it has passed; of those that come again soon no
// more than that.
func TestTrouble(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var (
			trouble onceper.Trouble
			told    []string
		)
		began := time.Now()
		tell := func(what string, d time.Duration, due bool) {
			if due {
				told = append(told, fmt.Sprint(time.Since(began), " ", what, " ", d))
			}
		}
		try := func(fails bool) {
			if fails {
				d, due := trouble.Lasts(time.Minute)
				tell("fails", d, due)
			} else {
				d, due := trouble.Passed()
				tell("passed", d, due)
			}
			time.Sleep(20 * time.Second) //nolint:forbidigo // Of synctest's clock.
		}
		for range 5 { // from 0 s on
			try(true)
		}
		for range 2 { // from 100 s on
			try(false)
		}
		for range 2 { // from 140 s on: it was told at 60 s
			try(true)
			try(false)
		}
		try(true) // at 220 s
		if want := []string{
			"0s fails 0s", "1m0s fails 1m0s", "1m40s passed 1m40s", "2m20s fails 0s", "2m40s passed 20s", "3m40s fails 0s",
		}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

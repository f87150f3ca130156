package simulation_test

import (
	"bufio"
	"flag"
	"math/rand/v2"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/simulation"
)

var (
	first    = flag.Uint64("seed", 0, "the first seed of TestSeeds; 0: a random one")
	duration = flag.Duration("duration", 3*time.Second, "how long TestSeeds tries one seed after the other")
	traced   = flag.Bool("trace", false, "print what happens")
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Whatever happens, what must hold does (invariants.go).
func TestSeeds(t *testing.T) {
	t.Parallel()
	began, s := time.Now(), *first
	if s == 0 {
		s = rand.Uint64()
	}
	var (
		next   atomic.Uint64
		failed atomic.Bool
	)
	workers := runtime.GOMAXPROCS(0) // A schedule keeps one processor busy.
	if *traced {
		workers = 1 // What happens is told in the order of the seeds.
	}
	for i := range workers {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			t.Parallel()
			for time.Since(began) < *duration && !failed.Load() {
				run(t, s+next.Add(1)-1, *traced)
				if t.Failed() {
					failed.Store(true)
				}
			}
		})
	}
	t.Cleanup(func() {
		n := next.Load()
		t.Logf("%d schedules from the seed %d on, %.0f a second", n, s, float64(n)/time.Since(began).Seconds())
	})
}

// The seeds of former failures, and some that stay the same.
func TestKnownSeeds(t *testing.T) {
	t.Parallel()
	file, err := os.Open("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close() //nolint:errcheck // It is only read.
	for lines := bufio.NewScanner(file); lines.Scan(); {
		text, _, _ := strings.Cut(lines.Text(), " ")
		s, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		run(t, s, false)
	}
}

// run runs a schedule.
func run(t *testing.T, seed uint64, traced bool) {
	t.Helper()
	finished := false
	defer func() {
		if !finished { // Something in the bubble does not end, or has panicked.
			t.Errorf("seed %d", seed)
		}
	}()
	var wrong, happened string
	synctest.Test(t, func(*testing.T) { wrong, happened = simulation.Run(seed, traced) })
	finished = true
	if wrong != "" {
		t.Errorf("seed %d:\n%s", seed, wrong)
	}
	if traced {
		t.Log("\n" + happened)
	}
}

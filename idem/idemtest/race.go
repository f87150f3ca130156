package idemtest

import (
	"context"
	"errors"
	"sync"
	"testing"
)

const (
	processes = 8 // that get an event at once, in Check
	members   = 3 // of a group that take partitions from each other, in Check
)

// Race calls deliver n times at once, as n processes do that get the same event. An error of any call
// fails the test: one call processes the event, and for the others a duplicate is not an error.
func Race(t testing.TB, n int, deliver func(ctx context.Context) error) {
	t.Helper()
	if err := atOnce(t.Context(), n, deliver); err != nil {
		t.Errorf("idemtest: delivered %d times at once: %v", n, err)
	}
}

func atOnce(ctx context.Context, n int, deliver func(ctx context.Context) error) error {
	var group sync.WaitGroup
	errs := make([]error, n)
	start := make(chan struct{})
	for i := range n {
		group.Go(func() {
			<-start
			errs[i] = deliver(ctx)
		})
	}
	close(start)
	group.Wait()

	return errors.Join(errs...)
}

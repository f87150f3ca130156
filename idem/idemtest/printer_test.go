package idemtest_test

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
)

// printer is a test that notes what it fails with.
type printer struct {
	testing.TB

	ctx context.Context //nolint:containedctx // As a test has.

	mu       sync.Mutex
	said     []string
	cleanups []func()
}

// run runs a test to its end and returns what it failed with; "" is nothing.
func run(test func(t testing.TB)) string {
	ctx, cancel := context.WithCancel(context.Background())
	p := &printer{ctx: ctx}
	var running sync.WaitGroup
	running.Go(func() { test(p) })
	running.Wait()
	cancel()
	for _, f := range slices.Backward(p.cleanups) {
		f()
	}

	return strings.Join(p.said, "\n")
}

func (p *printer) say(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.said = append(p.said, text)
}

func (*printer) Helper()                             {}
func (p *printer) Context() context.Context          { return p.ctx }
func (p *printer) Cleanup(f func())                  { p.cleanups = append(p.cleanups, f) }
func (p *printer) Errorf(format string, args ...any) { p.say(fmt.Sprintf(format, args...)) }
func (p *printer) Error(args ...any)                 { p.say(fmt.Sprint(args...)) }

func (p *printer) Fatalf(format string, args ...any) {
	p.Errorf(format, args...)
	runtime.Goexit()
}

func (p *printer) Fatal(args ...any) {
	p.Error(args...)
	runtime.Goexit()
}

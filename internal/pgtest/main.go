// Package pgtest gives tests a real PostgreSQL: a fresh database for each test, and the
// faults that lie between a client and its server.
//
// The server is the one that IDEM_TEST_DATABASE_URL names (a superuser of it), else a
// temporary one that is started at first need and ends with the test process; see package
// pgserver for where its binaries come from. If there is none, tests fail.
package pgtest

import (
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package, removes what they had from PostgreSQL, and fails if
// they leaked a goroutine. TestMain calls it; it does not return.
func Main(m *testing.M, options ...goleak.Option) {
	goleak.VerifyTestMain(run{m}, options...)
}

// run is a test run whose end is the end of the cluster too, so that the search for leaks
// comes after that.
type run struct{ m *testing.M }

func (r run) Run() int {
	code := r.m.Run()
	if err := closeCluster(); err != nil {
		fmt.Fprintln(os.Stderr, "pgtest:", err)

		return max(code, 1)
	}

	return code
}

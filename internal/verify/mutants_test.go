//go:build verify

package verify_test

import "testing"

// TestMutants checks that the mutants of "make mutate" fit the source and stand in the documentation. It
// runs none.
func TestMutants(t *testing.T) {
	t.Parallel()
	run(t, root, "Mend the mutants in internal/mutate.", nil, "go", "run", "./internal/mutate", "-check")
}

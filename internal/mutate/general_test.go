package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const kinds = `package kinds

func Kinds(a, b int, err error) (sum int, text string) {
	if err != nil || a < 0 && b < 0 {
		return 0, "wrong"
	}
	if a == 1 {
		text = "one"
	}
	for i := 0; i < b; i++ {
		if a++; a > 1000 {
			break
		}
	}

	return a, text + first(a, b)
}

func first(a, b int) string {
	switch {
	case a < b:
		return "a"
	default:
		return "b" + ""[a-a:]
	}
}

func Idle() { println() }
`

// What becomes of each kind of change. What does not compile, the sum of two texts, is none.
func TestGeneralMutants(t *testing.T) {
	t.Parallel()
	root := repository(t)
	write(t, filepath.Join(root, "kinds/kinds.go"), kinds)
	write(t, filepath.Join(root, "kinds/kinds_test.go"), `package kinds

import "testing"

func TestKinds(t *testing.T) {
	if sum, text := Kinds(1, 2, nil); sum != 3 || text != "oneb" {
		t.Error(sum, text)
	}
}
`)
	var printed strings.Builder
	g := general{runner: runner{root: root}, out: &printed, reached: map[int]bool{}}
	if err := g.subject(t.Context(), subject{[]string{"kinds/*.go"}, []string{"sum", "kinds"}}, "", "1/1"); err != nil {
		t.Fatal(err)
	}
	got := make([]string, 0, 20)
	for line := range strings.Lines(printed.String()) {
		got = append(got, strings.TrimSpace(line))
	}
	slices.Sort(got)
	want := []string{
		"SURVIVED kinds/kinds.go:11: > is >=: a > 1000",
		"SURVIVED kinds/kinds.go:21: < is <=: a < b",
		"SURVIVED kinds/kinds.go:4: < is <=: a < 0",
		"SURVIVED kinds/kinds.go:4: without a < 0 in a < 0 && b < 0",
		"killed kinds/kinds.go:10: < is <=: i < b: kinds: --- FAIL: TestKinds",
		"killed kinds/kinds.go:10: negated: i < b: kinds: --- FAIL: TestKinds",
		"killed kinds/kinds.go:11: always: a > 1000: kinds: --- FAIL: TestKinds",
		"killed kinds/kinds.go:21: always: a < b: kinds: --- FAIL: TestKinds",
		"killed kinds/kinds.go:24: - is +: a-a: kinds: --- FAIL: TestKinds",
		"killed kinds/kinds.go:7: never: a == 1: kinds: --- FAIL: TestKinds",
		`killed kinds/kinds.go:8: left out: text = "one": kinds: --- FAIL: TestKinds`,
		"kinds/*.go: 20 of 20 mutants tried: 7 killed, 4 survived, 9 not reached",
		"left out, because it fails without a mutant: sum TestBroken: exit status 1",
		"not reached kinds/kinds.go:11: never: a > 1000",
		"not reached kinds/kinds.go:12: left out: break",
		"not reached kinds/kinds.go:21: never: a < b",
		"not reached kinds/kinds.go:28: left out: println()",
		"not reached kinds/kinds.go:4: < is <=: b < 0",
		"not reached kinds/kinds.go:4: without a < 0 && b < 0 in err != nil || a < 0 && b < 0",
		"not reached kinds/kinds.go:4: without b < 0 in a < 0 && b < 0",
		"not reached kinds/kinds.go:4: without err != nil in err != nil || a < 0 && b < 0",
		"not reached kinds/kinds.go:7: always: a == 1",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

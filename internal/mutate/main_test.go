package main

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nova-events/idempotent-consumer/internal/await"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// repository returns one with a package that adds and its tests.
func repository(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	for name, content := range map[string]string{
		"go.mod": "module example.com/adding\n\ngo 1.24\n",
		"sum/sum.go": `package sum

func Add(a, b int) int { return a + b }

func Idle() {}
`,
		"sum/sum_test.go": `package sum

import "testing"

func TestAdd(t *testing.T) {
	Idle()
	if got := Add(2, 2); got != 4 {
		t.Errorf("2 and 2 are %d", got)
	}
}

func TestBroken(t *testing.T) { t.Error("always") }
`,
		"docs/proof.md": "",
	} {
		write(t, filepath.Join(root, name), content)
	}

	return root
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

const file = "sum/sum.go"

var good = mutant{
	id: "good", mechanism: "it adds", file: file, find: "a + b", put: "a - b",
	checker: checker{pkg: "sum", run: "^TestAdd$"}, says: "2 and 2 are 0",
}

// changed returns the good mutant with changes.
func changed(id string, change func(*mutant)) mutant {
	m := good
	m.id = id
	change(&m)

	return m
}

func TestOnlyWhatIsNoticedInTheRightWordsCounts(t *testing.T) {
	t.Parallel()
	r := runner{root: repository(t), limit: time.Minute}
	wanted := map[string]string{
		"good": "2 and 2 are 0", "survivor": "survived", "outdated": "0 times, not once", "twice": "2 times, not once", "broken": "it does not compile",
		"other words": `failed without saying "boom"`, "broken checker": "fails unmutated", "no checker": "fails unmutated", "hangs": "panic: test timed out after 1s",
	}
	mutants := []mutant{
		good,
		changed("survivor", func(m *mutant) { m.put = "b + a" }),
		changed("outdated", func(m *mutant) { m.find = "a * b" }),
		changed("twice", func(m *mutant) { m.find = "func " }),
		changed("broken", func(m *mutant) { m.put = "a +" }),
		changed("other words", func(m *mutant) { m.says = "boom" }),
		changed("broken checker", func(m *mutant) { m.checker.run = "^TestBroken$" }),
		changed("no checker", func(m *mutant) { m.checker.run = "^TestNothing$" }),
		changed("hangs", func(m *mutant) {
			m.find, m.put, m.says, m.limit = "func Idle() {}", "func Idle() { select {} }", "panic: test timed out after 1s", time.Second
		}),
	}
	var told []string
	results, err := r.all(t.Context(), mutants, func(line string) { told = append(told, line) })
	if err != nil {
		t.Fatal(err)
	}
	for i, res := range results {
		if found := res.ID == "good" || res.ID == "hangs"; res.Found != found || !strings.Contains(res.Said, wanted[mutants[i].id]) {
			t.Errorf("%+v, want %q", res, wanted[mutants[i].id])
		}
	}
	if len(results) != len(wanted) || !strings.HasPrefix(told[len(told)-1], "2 of 9 mutants found in ") {
		t.Errorf("%d results, told\n%s", len(results), strings.Join(told, "\n"))
	}
	if content, err := os.ReadFile(filepath.Join(r.root, file)); err != nil || !strings.Contains(string(content), "a + b") {
		t.Errorf("the source became\n%s, %v", content, err)
	}
}

func TestGroupOfProcessesEndsWithItsCommand(t *testing.T) {
	t.Parallel()
	for name, script := range map[string]string{
		"in time":  `sleep 1000 >&- 2>&- & echo $!`,
		"too late": `sleep 1000 & echo $!; wait`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			output, err := inGroup(exec.CommandContext(ctx, "sh", "-c", script))
			if (err != nil) != (name == "too late") {
				t.Error(err)
			}
			child, err := strconv.Atoi(strings.TrimSpace(output))
			if err != nil {
				t.Fatal(err)
			}
			await.Until(t, "the end of the group's processes", func() bool { return !alive(child) })
		})
	}
}

// alive reports whether a process runs. One that nobody has waited for does not.
func alive(pid int) bool {
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err == nil {
		return !strings.Contains(string(status), ") Z ")
	}

	return syscall.Kill(pid, 0) == nil
}

func TestProofKeepsTheRowsOfOthers(t *testing.T) {
	t.Parallel()
	root := repository(t)
	other := changed("other", func(m *mutant) { m.mechanism = "a | b" })
	mutants, proof := []group{{"Sums", []mutant{good, other}}}, filepath.Join(root, proofFile)
	update := func(results ...result) {
		t.Helper()
		if err := writeProof(proof, mutants, results); err != nil {
			t.Fatal(err)
		}
	}
	update(result{ID: "good", Found: true, Said: "2 and `2`", Seconds: 0.25})
	if wrong := check(root, all(mutants), proof); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "other: ") {
		t.Errorf("with one row: %v", wrong)
	}
	update(result{ID: "other", Found: true, Said: "c | d"}, result{ID: "good", Said: "survived"})
	if wrong := check(root, all(mutants), proof); len(wrong) > 0 {
		t.Error(wrong)
	}
	appendTo(t, proof, keptFrom+"\nwritten by people\n")
	update()
	content, err := os.ReadFile(proof)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(string(content), keptFrom+"\nwritten by people\n") {
		t.Errorf("what people wrote is gone:\n%s", content)
	}
	for _, row := range []string{
		"## Sums\n", "| `good` | it adds | sum TestAdd | `2 and '2'` | 0.2 s |\n", "| `other` | a \\| b | sum TestAdd | `c \\| d` | 0.0 s |\n",
	} {
		if !strings.Contains(string(content), row) {
			t.Errorf("no row %q in\n%s", row, content)
		}
	}
	mutants[0].mutants[1].mechanism = "another"
	if wrong := check(root, all(mutants), proof); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "as it is") {
		t.Errorf("with a row that is outdated: %v", wrong)
	}
	mutants[0].mutants = mutants[0].mutants[:1]
	if wrong := check(root, all(mutants), proof); len(wrong) != 1 || !strings.Contains(wrong[0].Error(), "there is no such mutant") {
		t.Errorf("with a row too many: %v", wrong)
	}
}

func TestShardsAreAll(t *testing.T) {
	t.Parallel()
	var ids []string
	for _, shard := range []string{"1/3", "2/3", "3/3"} {
		chosen, err := selected(all(groups), mutant.name, "^own-", shard)
		if err != nil || len(chosen) == 0 {
			t.Fatal(shard, err)
		}
		for _, m := range chosen {
			ids = append(ids, m.id)
		}
	}
	whole, err := selected(all(groups), mutant.name, "^own-", "1/1")
	if err != nil || len(whole) != len(ids) || len(ids) != len(slices.Compact(slices.Sorted(slices.Values(ids)))) {
		t.Errorf("%q, %v", ids, err)
	}
	for _, wrong := range []settings{{shard: "0/2"}, {shard: "3/2"}, {shard: "one"}, {run: "(", shard: "1/1"}} {
		if _, err := selected([]mutant{}, mutant.name, wrong.run, wrong.shard); err == nil {
			t.Errorf("%+v: no error", wrong)
		}
	}
}

func TestOverlayOfOneMutant(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	root := repository(t)
	path, err := good.overlay(root, folder)
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	if status, err := (settings{overlay: folder}).writeOverlay(root, []mutant{good}, &printed); status != 0 || err != nil || printed.String() != path+"\n" {
		t.Errorf("status %d, %v, printed %q", status, err, printed.String())
	}
	if status, err := (settings{overlay: folder}).writeOverlay(root, []mutant{good, good}, &printed); status != 2 || err == nil {
		t.Errorf("of two mutants: status %d, %v", status, err)
	}
}

func appendTo(t *testing.T, name, text string) {
	t.Helper()
	file, err := os.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	_, err = file.WriteString(text)
	if err := errors.Join(err, file.Close()); err != nil {
		t.Fatal(err)
	}
}

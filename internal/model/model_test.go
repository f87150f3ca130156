package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestEachMechanismIsChecked(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../" + document)
	if err != nil {
		t.Fatal(err)
	}
	names := map[string]bool{}
	for _, s := range specifications {
		mechanisms, err := readMechanisms(s.name + ".tla")
		if err != nil {
			t.Fatal(err)
		}
		if len(mechanisms) != len(s.mutants) {
			t.Errorf("%s.tla has %d mechanisms, there are checks for %d", s.name, len(mechanisms), len(s.mutants))
		}
		for _, c := range slices.Concat(s.holds, s.withMechanisms(mechanisms), s.limits) {
			if c.promises == "" {
				t.Errorf("there is no check without %s", c.name)
			}
			if names[c.name] {
				t.Errorf("there are two checks %s", c.name)
			}
			names[c.name] = true
			if !strings.Contains(string(page), "\n| `"+c.name+"` | ") {
				t.Errorf("%s lacks %s: make model ARGS=-write", document, c.name)
			}
		}
	}
}

func TestAnswers(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ answer, want string }{
		"good":      {`{"status": "ok", "stats": {"states_explored": 25}}`, "25 states in 0 s"},
		"broken":    {`{"status": "invariant_violation", "invariant_name": "Once", "trace": [{"state": {"said": ""}}, {"state": {"said": [1, "crashes"]}}]}`, "Once is broken after 1 steps in 0 s"},
		"not ended": {`{"status": "max_states_exceeded", "stats": {"states_explored": 25}}`, `the checker ends with "max_states_exceeded"`},
		"nothing":   {``, "the checker does not answer"},
	} {
		r, err := parse([]byte("Checking spec: idem.tla\n" + test.answer))
		got := r.String()
		if err != nil {
			got = err.Error()
		}
		if got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestJudgement(t *testing.T) {
	t.Parallel()
	broken := result{broken: "Once"}
	for name, test := range map[string]struct {
		check check
		found result
		wrong bool
	}{
		"all is well":              {check{promises: always}, result{}, false},
		"a promise is broken":      {check{promises: always}, broken, true},
		"as expected":              {check{broken: true, promises: "Once"}, broken, false},
		"another one is broken":    {check{broken: true, promises: "Truthful"}, broken, true},
		"the mechanism is useless": {check{broken: true, promises: "Once"}, result{}, true},
		"nobody says what to find": {check{broken: true}, result{}, true},
	} {
		if err := test.check.judge(test.found); (err != nil) != test.wrong {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestStory(t *testing.T) {
	t.Parallel()
	r := result{
		steps: []step{{1, "joins the group"}, {1, "crashes"}, {0, "the standby takes over"}, {2, "begins with a record"}},
		again: []step{{2, "finds its transaction ended"}, {2, "begins with a record"}},
	}
	want := "1 joins the group, crashes; the standby takes over; 2 begins with a record. Then again and again: 2 finds its transaction ended, begins with a record."
	if got := r.story(); got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

package ops

import (
	"context"
	"os"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/db"
)

// Each finding has a section of its name in docs/operations.md, and each section there a finding.
func TestFindingsHaveTheirSections(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	_, doctor, found := strings.Cut(string(text), "\n## Doctor\n")
	if !found {
		t.Fatal("docs/operations.md has no section Doctor")
	}
	doctor, _, _ = strings.Cut(doctor, "\n## ")
	known := findingIDs(t)
	sections := make(map[string]bool)
	for line := range strings.Lines(doctor) {
		if id, section := strings.CutPrefix(line, "### "); section {
			sections[strings.TrimSpace(id)] = true
		}
	}
	for id := range known {
		if !sections[id] {
			t.Errorf("docs/operations.md has no section %q", id)
		}
	}
	for id := range sections {
		if !known[id] {
			t.Errorf("there is no finding of the section %q", id)
		}
	}
}

// findingIDs are those of all checks, of those of Kafka too.
func findingIDs(t *testing.T) map[string]bool {
	t.Helper()
	reachable := func(context.Context, []string, []string) (KafkaFacts, error) { return KafkaFacts{}, nil }
	d := &doctor{opts: DoctorOptions{Kafka: reachable}, kafka: &kafkaSeen{}, runbook: runbook()}
	ids := make(map[string]bool)
	for _, c := range d.checks() {
		for _, id := range c.ids {
			ids[id] = true
			if d.runbook[id].why == "" {
				t.Errorf("nothing says why %s matters", id)
			}
		}
	}
	for id := range d.runbook {
		if !ids[id] {
			t.Errorf("no check finds %s", id)
		}
	}

	return ids
}

// No PostgreSQL 13 is at hand for the tests.
func TestDoctorFindsOldServers(t *testing.T) {
	t.Parallel()
	for version, want := range map[int32]Severity{130012: SeverityProblem, 140000: SeverityOK} {
		d := &doctor{server: db.DoctorServerRow{VersionNum: version, Version: "x"}, runbook: runbook()}
		if err := d.findServerVersion(t.Context()); err != nil || len(d.findings) != 1 || d.findings[0].Severity != want {
			t.Errorf("%d: %+v, %v", version, d.findings, err)
		}
	}
}

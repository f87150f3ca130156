package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

const folder = "../../idemotel/dashboard"

func TestDashboardIsGenerated(t *testing.T) {
	t.Parallel()
	want, err := generate()
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(read(t, filepath.Join(folder, "dashboard.json")), want) {
		t.Error(`idemotel/dashboard/dashboard.json is not what is generated: run "make generate"`)
	}
}

// TestAlerts has promtool check the rules, and run their own tests.
func TestAlerts(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"check", "rules", "alerts.yaml"}, {"test", "rules", "alerts_test.yaml"}} {
		promtool := exec.CommandContext(t.Context(), "promtool", args...)
		promtool.Dir = folder
		output, err := promtool.CombinedOutput()
		if promtool.Err != nil && os.Getenv("CI") != "true" {
			t.Skip(promtool.Err)
		}
		if err != nil {
			t.Errorf("%s: %v\n%s", promtool, err, output)
		}
	}
}

// TestAlertsHaveRunbooks looks for the sections that the alerts name, and for tests of all alerts.
func TestAlertsHaveRunbooks(t *testing.T) {
	t.Parallel()
	rules, manual, tests := read(t, filepath.Join(folder, "alerts.yaml")), read(t, "../../docs/operations.md"), read(t, filepath.Join(folder, "alerts_test.yaml"))
	alerts := regexp.MustCompile(`(?s)- alert: (\w+)\n.*?runbook: docs/operations\.md#([\w-]+)\n`).FindAllSubmatch(rules, -1)
	if len(alerts) != bytes.Count(rules, []byte("- alert:")) {
		t.Error("an alert has no runbook")
	}
	for _, alert := range alerts {
		if !regexp.MustCompile(`(?mi)^##+ ` + string(alert[2]) + `$`).Match(manual) {
			t.Errorf("%s names the section %s, which docs/operations.md has not", alert[1], alert[2])
		}
		if bytes.Count(tests, append([]byte("alertname: "), alert[1]...)) < 2 {
			t.Errorf("%s has not two tests: in which it is raised and in which it is not", alert[1])
		}
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return text
}

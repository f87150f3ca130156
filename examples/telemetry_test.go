package examples_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// dashboard is the folder with what Grafana and Prometheus are given.
const dashboard = "../idemotel/dashboard"

// checkTelemetry has a Prometheus watch the example, and asks it all that the dashboard and the alerts ask.
func checkTelemetry(t *testing.T, e example) {
	t.Helper()
	var exports atomic.Int32
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/traces" {
			exports.Add(1)
		}
	}))
	defer collector.Close()
	db := pgtest.NewEmptyDB(t)
	pool, listen := db.Pool(t), freeAddress(t)
	prometheus := startPrometheus(t, listen)
	e.until(t, "Prometheus has seen what was consumed", func() bool {
		if !consumed(t, pool)() || !answers(t.Context(), "http://"+listen+"/livez", "http://"+listen+"/readyz") {
			return false
		}
		if prometheus == "" {
			return true
		}
		failed, err := ask(t.Context(), prometheus, `rate(messaging_process_duration_seconds_count{error_type="permanent"}[1m])`)

		return err == nil && failed > 0 && watched(t, prometheus)
	}, append(e.servers(t, db), "LISTEN="+listen, "OTEL_EXPORTER_OTLP_ENDPOINT="+collector.URL)...)
	if exports.Load() == 0 {
		t.Error("no traces were exported")
	}
	wantDeadLetters(t, pool, "order-4")
}

var (
	labels = regexp.MustCompile(`by \([^)]*\)`)
	metric = regexp.MustCompile(`\bidem_\w+`)
)

// watched asks a Prometheus the queries of the dashboard, for the metrics of the alerts, and the alerts themselves. It always
// returns true.
func watched(t *testing.T, prometheus string) bool {
	t.Helper()
	queries := panels(t)
	for _, rule := range alerts(t) {
		if _, err := ask(t.Context(), prometheus, rule); err != nil {
			t.Error(err)
		}
		queries = append(queries, metric.FindString(labels.ReplaceAllString(rule, "")))
	}
	for _, query := range queries {
		n, err := ask(t.Context(), prometheus, query)
		if err != nil {
			t.Error(err)
		} else if n == 0 {
			t.Errorf("Prometheus has nothing for %s", query)
		}
	}
	if len(queries) < 30 {
		t.Errorf("there are only %d queries", len(queries))
	}

	return true
}

// panels are the queries of the dashboard, for all groups and topics.
func panels(t *testing.T) (queries []string) {
	t.Helper()
	var parsed struct {
		Panels []struct {
			Targets []struct {
				Expr string `json:"expr"`
			} `json:"targets"`
		} `json:"panels"`
	}
	if err := json.Unmarshal(read(t, "dashboard.json"), &parsed); err != nil {
		t.Fatal(err)
	}
	chosen := strings.NewReplacer("$group", ".*", "$topic", ".*", "$__rate_interval", "1m")
	for _, panel := range parsed.Panels {
		for _, target := range panel.Targets {
			queries = append(queries, chosen.Replace(target.Expr))
		}
	}

	return queries
}

// alerts are the expressions of the rules.
func alerts(t *testing.T) (expressions []string) {
	t.Helper()
	var parsed struct {
		Groups []struct {
			Rules []struct {
				Expr string `yaml:"expr"`
			} `yaml:"rules"`
		} `yaml:"groups"`
	}
	if err := yaml.Unmarshal(read(t, "alerts.yaml"), &parsed); err != nil {
		t.Fatal(err)
	}
	for _, group := range parsed.Groups {
		for _, rule := range group.Rules {
			expressions = append(expressions, rule.Expr)
		}
	}

	return expressions
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dashboard, name))
	if err != nil {
		t.Fatal(err)
	}

	return text
}

// startPrometheus starts a Prometheus that scrapes target and returns its URL. Without the program it returns "", in CI it
// fails.
func startPrometheus(t *testing.T, target string) string {
	t.Helper()
	program, err := exec.LookPath("prometheus")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Error(err)
		}

		return ""
	}
	rules, err := filepath.Abs(filepath.Join(dashboard, "alerts.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	folder, listen := t.TempDir(), freeAddress(t)
	config := fmt.Sprintf("global: {scrape_interval: 250ms}\nrule_files: [%s]\nscrape_configs: [{job_name: service, static_configs: [{targets: [%q]}]}]\n", rules, target)
	if err := os.WriteFile(filepath.Join(folder, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	cmd := exec.CommandContext(t.Context(), program, "--config.file=prometheus.yml", "--storage.tsdb.path=data", "--web.listen-address="+listen)
	cmd.Dir, cmd.Stdout, cmd.Stderr = folder, &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(&log)
		}
	})

	return "http://" + listen
}

// ask returns how many series a Prometheus has for a query.
func ask(ctx context.Context, prometheus, query string) (series int, err error) {
	_, text, err := get(ctx, prometheus+"/api/v1/query?query="+url.QueryEscape(query))
	if err != nil {
		return 0, err
	}
	var parsed struct {
		Error string `json:"error"`
		Data  struct {
			Result []json.RawMessage `json:"result"`
		} `json:"data"`
	}
	if err := json.Unmarshal(text, &parsed); err != nil {
		return 0, err
	}
	if parsed.Error != "" {
		return 0, errors.New(query + ": " + parsed.Error)
	}

	return len(parsed.Data.Result), nil
}

// answers reports whether all addresses answer that all is well.
func answers(ctx context.Context, addresses ...string) bool {
	return !slices.ContainsFunc(addresses, func(address string) bool {
		status, _, err := get(ctx, address)

		return err != nil || status != http.StatusOK
	})
}

func get(ctx context.Context, address string) (status int, text []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	text, err = io.ReadAll(response.Body)

	return response.StatusCode, text, errors.Join(err, response.Body.Close())
}

// freeAddress is one on which nobody listens.
func freeAddress(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err == nil {
		err = listener.Close()
	}
	if err != nil {
		t.Fatal(err)
	}

	return listener.Addr().String()
}

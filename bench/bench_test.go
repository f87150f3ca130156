package main

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if isConsumeRound() { // The benchmark runs its own program for it.
		main()

		return
	}
	// Watermill's Kafka client starts one for all its meters, and never ends it.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/rcrowley/go-metrics.(*meterArbiter).tick"))
}

// TestTiny measures everything at a tiny size. It says nothing of speed, which is not to be
// asserted on a machine that is shared.
func TestTiny(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	chart := filepath.Join(folder, "chart.svg")
	var out bytes.Buffer
	err := command(t.Context(), []string{
		"-quick", "-rounds=1", "-seconds=0.05", "-warmup=0.02", "-e2e-seconds=0.2", "-storage-keys=1000", "-prefilled=1000", "-expired=5000",
		"-records=8000", "-consumed=40000", "-batch=50", "-sessions=1,2", "-seed-workers=2", "-workers=2", "-out=" + folder, "-chart=" + chart,
	}, &out, t.Output())
	if err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	text, err := os.ReadFile(filepath.Join(folder, "latest.json")) //nolint:gosec // It is the test's own.
	if err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{
		"batch_vs_seed", "batch_vs_raw_sql", "checkpoint_vs_seed", "single_vs_pgbench", "single_vs_seed", "exec_vs_seed", "exec_vs_single", "mark_first_vs_seed", "e2e_batch_vs_handwritten", "e2e_batch_vs_handwritten_batch", "e2e_exactly_once_vs_at_least_once",
		"consume_vs_franz", "idle_p99_ms", "disk_bytes_per_key", "wal_bytes_per_key",
	} {
		if got.Ratios[name] <= 0 {
			t.Errorf("%s is %v", name, got.Ratios[name])
		}
	}
	for _, m := range got.Measurements {
		if m.Value.Median <= 0 && m.ID != "expiry/deleted" {
			t.Errorf("%s is %v", m.ID, m.Value)
		}
	}
	if got.PostgreSQL["fsync"] != "on" || got.PostgreSQL["synchronous_commit"] != "on" {
		t.Errorf("not durable: %v", got.PostgreSQL)
	}
	wellFormed(t, chart)

	var again bytes.Buffer
	if err := command(t.Context(), []string{"-from=" + filepath.Join(folder, "quick.json"), "-chart="}, &again, t.Output()); err != nil {
		t.Fatal(err)
	}
	if again.String() != out.String() {
		t.Errorf("printed again it is\n%s", &again)
	}
}

func wellFormed(t *testing.T, path string) {
	t.Helper()
	text, err := os.ReadFile(path) //nolint:gosec // The same.
	if err != nil {
		t.Fatal(err)
	}
	decoder := xml.NewDecoder(bytes.NewReader(text))
	for {
		if _, err := decoder.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatalf("%s: %v", path, err)
		}
	}
}

func TestStreamRepeats(t *testing.T) {
	t.Parallel()
	for _, ids := range []string{uuid4, uuid7, stringID} {
		s := newStream(load{IDs: ids, Duplicates: 90}, 1, 4, 100)
		seen, again := map[string]bool{}, 0
		for range 100 {
			events := make([]event, 100)
			s.fill(events)
			earlier := len(seen)
			for _, e := range events {
				if e.Account%4 != 1 || e.Account >= 100 || e.Amount < 1 {
					t.Fatalf("%+v", e)
				}
				if seen[e.ID] {
					again++
				}
			}
			for _, e := range events {
				seen[e.ID] = true
			}
			if len(seen) == earlier && earlier == 0 {
				t.Fatal("there are no events")
			}
		}
		if again < 8_500 || again > 9_300 {
			t.Errorf("%s: %d of 10,000 are duplicates, want about 9,000", ids, again)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		of   []float64
		want float64
	}{{[]float64{3}, 3}, {[]float64{3, 1}, 2}, {[]float64{9, 1, 5}, 5}} {
		if got := median(c.of); got != c.want {
			t.Errorf("median(%v) = %v, want %v", c.of, got, c.want)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"-broker=x"}, {"-rounds=0"}, {"-accounts=3"}, {"-seed-workers=0"}, {"rest"}, {"-quick", "-batch=0"}} {
		if _, err := parseSettings(args, io.Discard); !errors.Is(err, errUsage) {
			t.Errorf("%v: %v, want errUsage", args, err)
		}
	}
}

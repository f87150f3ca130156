package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSections runs each section alone, at a tiny size.
func TestSections(t *testing.T) {
	t.Parallel()
	for section, want := range map[string]struct {
		measurements, ratios []string
		few                  []string // flags
	}{
		sectionDirect: {
			measurements: []string{"direct/seed/2", "direct/exec/2", "direct/batch_checkpoint/1", "direct/raw_sql_checkpoint/1", "direct/fsync/1"},
			ratios:       []string{"checkpoint_vs_seed", "checkpoint_vs_raw_sql", "exec_vs_single", "single_vs_pgx"},
			few:          []string{"-quick"},
		},
		sectionStorage: {
			measurements: []string{"storage/disk/idem/uuid4", "storage/wal/seed/uuid4"}, ratios: []string{"disk_bytes_per_key", "wal_bytes_per_key"},
			few: []string{"-quick"},
		},
		sectionLoads: {
			measurements: []string{"direct/seed/2/20_percent_duplicates", "direct/batch_checkpoint/2/5000_rows"},
			few:          []string{"-quick"},
		},
		sectionExpiry: {measurements: []string{"expiry/p99/undisturbed", "expiry/rate/while_deleting"}, ratios: []string{"expiry_p99"}, few: []string{"-quick"}},
		sectionE2E: {
			measurements: []string{"e2e/handwritten_readers", "e2e/at_least_once"},
			ratios: []string{
				"e2e_handle_vs_watermill", "e2e_queue_vs_watermill", "e2e_batch_vs_handwritten", "e2e_batch_vs_handwritten_batch", "e2e_batch_vs_watermill", "e2e_checkpoint_vs_handwritten",
				"e2e_checkpoint_vs_at_least_once", "e2e_exactly_once_vs_at_least_once", "e2e_metrics_vs_batch", "e2e_traces_vs_batch",
			},
		},
		sectionIdle:    {measurements: []string{"e2e/idle/produced_p50", "e2e/idle/committed_p99"}, ratios: []string{"idle_p99_ms", "idle_p50_vs_at_least_once"}},
		sectionConsume: {measurements: []string{"consume/kafkaadapter", "consume/franz", "consume/reader"}, ratios: []string{"consume_vs_franz", "consume_vs_reader"}},
		sectionEffects: {
			measurements: []string{"effects/lease", "effects/batch_publish", "effects/batch_insert", "effects/relay", "effects/produce", "effects/drain"},
			ratios:       []string{"lease_vs_single", "publish_vs_batch", "publish_vs_insert", "relay_vs_produce", "relay_vs_drain"},
		},
		sectionLarge: {
			measurements: []string{"large/batch/uuid7/5000_rows", "large/single/string/5000_rows", "large/batch/uuid4/0_rows"}, ratios: []string{"batch_uuid7_5000_vs_0_rows"},
			few: []string{"-quick"},
		},
		sectionRetention: {measurements: []string{"retention/rate/first", "retention/rate/last", "retention/table/last", "retention/index/last"}, ratios: []string{"retention_last_vs_first_rate"}, few: []string{"-quick"}},
	} {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			var out bytes.Buffer
			err := command(t.Context(), append(want.few,
				"-section="+section, "-rounds=1", "-load-rounds=1", "-seconds=0.05", "-warmup=0.02", "-e2e-seconds=0.2", "-broker=inprocess", "-seed-workers=2",
				"-prefilled=5000", "-expired=5000", "-storage-keys=1000", "-records=8000", "-consumed=40000", "-cycle=0.1", "-retention=0.2", "-steady=0.3",
				"-batch=50", "-sessions=1,2", "-workers=2", "-ids=uuid4,uuid7,string", "-set=wal_compression=on", "-out="+folder, "-chart=",
			), &out, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(out.String())
			got, err := readReport(filepath.Join(folder, section+".json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range want.measurements {
				if m := got.find(id); m == nil || m.Value.Median <= 0 {
					t.Errorf("%s is %+v", id, m)
				}
			}
			for _, name := range want.ratios {
				if got.Ratios[name] <= 0 {
					t.Errorf("%s is %v", name, got.Ratios[name])
				}
			}
			for _, m := range got.Measurements {
				if m.Section != section && (section != sectionLoads || m.Section != sectionDirect) && (section != sectionIdle || m.Section != sectionE2E) {
					t.Errorf("%s was measured too", m.ID)
				}
			}
			if got.PostgreSQL["wal_compression"] == "off" {
				t.Errorf("%v", got.PostgreSQL)
			}
			if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
				t.Errorf("a section that runs alone leaves %v, %v", files, err)
			}
		})
	}
}

func TestSectionSettings(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-section=indirect", "-consumed=-1", "-section=large -ids=uuid5", "-cycle=0", "-steady=0", "-retention=-1", "-set=x"} {
		if _, err := parseSettings(strings.Fields(args), t.Output()); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
	s, err := parseSettings([]string{"-ids=uuid7", "-set=a=b=c", "-section=large"}, t.Output())
	if err != nil || s.PostgreSQL["a"] != "b=c" || !slices.Equal(s.IDs, []string{uuid7}) {
		t.Errorf("%+v, %v", s, err)
	}
}

package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestSections runs at a tiny size what is no part of a usual run.
func TestSections(t *testing.T) {
	t.Parallel()
	for section, want := range map[string][]string{
		sectionLarge:     {"large/batch/uuid7/5000_rows", "large/single/string/5000_rows", "large/batch/uuid4/0_rows"},
		sectionRetention: {"retention/rate/first", "retention/rate/last", "retention/table/last", "retention/index/last"},
	} {
		t.Run(section, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			var out bytes.Buffer
			err := command(t.Context(), []string{
				"-quick", "-section=" + section, "-prefilled=5000", "-cycle=0.1", "-retention=0.2", "-steady=0.3", "-batch=50", "-sessions=1,2", "-workers=2",
				"-ids=uuid4,uuid7,string", "-set=wal_compression=on", "-out=" + folder, "-chart=",
			}, &out, t.Output())
			if err != nil {
				t.Fatal(err)
			}
			t.Log(out.String())
			got, err := readReport(filepath.Join(folder, section+".json"))
			if err != nil {
				t.Fatal(err)
			}
			for _, id := range want {
				if m := got.find(id); m == nil || m.Value.Median <= 0 {
					t.Errorf("%s is %+v", id, m)
				}
			}
			if got.PostgreSQL["wal_compression"] == "off" || len(got.RatioDetails) == 0 {
				t.Errorf("%v, %v", got.PostgreSQL, got.RatioDetails)
			}
			if files, err := os.ReadDir(folder); err != nil || len(files) != 1 {
				t.Errorf("a section that runs alone leaves %v, %v", files, err)
			}
		})
	}
}

func TestSectionSettings(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"-section=direct", "-section=large -ids=uuid5", "-cycle=0", "-steady=0", "-retention=-1", "-set=x"} {
		if _, err := parseSettings(strings.Fields(args), t.Output()); err == nil {
			t.Errorf("%s is taken", args)
		}
	}
	s, err := parseSettings([]string{"-ids=uuid7", "-set=a=b=c", "-section=large"}, t.Output())
	if err != nil || s.PostgreSQL["a"] != "b=c" || !slices.Equal(s.IDs, []string{uuid7}) {
		t.Errorf("%+v, %v", s, err)
	}
}

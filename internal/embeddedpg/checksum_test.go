package main

import (
	"archive/zip"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Without a checksum the library installs what it gets.
func TestDownloadWithoutChecksumIsRefused(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]http.HandlerFunc{
		"missing":   http.NotFound,
		"empty":     func(http.ResponseWriter, *http.Request) {},
		"torn":      func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", "64") },
		"not a sum": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>moved</html>")) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, ".sha256") {
					answer(w, r)

					return
				}
				archive := zip.NewWriter(w)
				if _, err := archive.Create("server.txz"); err != nil {
					t.Error(err)
				}
				if err := archive.Close(); err != nil {
					t.Error(err)
				}
			}))
			defer server.Close()
			cache := t.TempDir()
			_, err := install(t.Context(), cache, versions[defaultMajor], server.URL)
			if err == nil || !strings.Contains(err.Error(), errNoChecksum.Error()) {
				t.Errorf("error %v, want %v", err, errNoChecksum)
			}
			if left, err := filepath.Glob(filepath.Join(cache, "postgresql*")); err != nil || len(left) > 0 {
				t.Errorf("left in the cache: %v, %v", left, err)
			}
			if _, err := os.Stat(filepath.Join(cache, "staging")); !os.IsNotExist(err) {
				t.Errorf("the staging folder: %v, want not exist", err)
			}
		})
	}
}

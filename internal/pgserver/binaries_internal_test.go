package pgserver

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDownloader(t *testing.T) {
	t.Parallel()
	const remote = "github.com/nova-events/idempotent-consumer/internal/embeddedpg@"
	here, err := filepath.Abs("binaries.go")
	if err != nil {
		t.Fatal(err)
	}
	for source, want := range map[string][2]string{
		here: {filepath.Join(filepath.Dir(here), "..", "embeddedpg"), "."},
		"/go/pkg/mod/github.com/nova-events/idempotent-consumer@v1.2.3/internal/pgserver/binaries.go": {os.TempDir(), remote + "v1.2.3"},
		"github.com/nova-events/idempotent-consumer@v1.2.3/internal/pgserver/binaries.go":             {os.TempDir(), remote + "v1.2.3"}, // -trimpath
		"/src/vendor/github.com/nova-events/idempotent-consumer/internal/pgserver/binaries.go":        {os.TempDir(), remote + "latest"},
	} {
		if folder, program := downloader(source); folder != want[0] || program != want[1] {
			t.Errorf("%s: %q in %q, want %q", source, program, folder, want)
		}
	}
}

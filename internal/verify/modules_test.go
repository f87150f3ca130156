//go:build verify

package verify_test

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/nova-events/idempotent-consumer"

// pgx is what comes with package idem.
var pgx = []string{
	"github.com/google/uuid",
	"github.com/jackc/pgpassfile",
	"github.com/jackc/pgservicefile",
	"github.com/jackc/pgx/v5",
	"github.com/jackc/puddle/v2",
	"golang.org/x/sync",
	"golang.org/x/text",
}

// ofOps is what comes with package ops.
var ofOps = []string{
	"github.com/google/uuid",
	"github.com/jackc/pgpassfile",
	"github.com/jackc/pgservicefile",
	"github.com/jackc/pgx/v5",
	"github.com/jackc/puddle/v2",
	"github.com/mfridman/interpolate",
	"github.com/pressly/goose/v3",
	"github.com/sethvargo/go-retry",
	"go.uber.org/multierr",
	"golang.org/x/sync",
	"golang.org/x/text",
}

// inherited are the modules that a service which imports a package of ours inherits.
var inherited = map[string][]string{
	"./idem":            pgx,
	"./consume":         pgx,
	"./health":          pgx,
	"./internal/engine": pgx,
	"./outbox":          pgx,
	"./idem/idemtest": { // Those of a service's tests only.
		"github.com/google/uuid",
		"github.com/jackc/pgpassfile",
		"github.com/jackc/pgservicefile",
		"github.com/jackc/pgx/v5",
		"github.com/jackc/puddle/v2",
		"github.com/mfridman/interpolate",
		"github.com/pressly/goose/v3",
		"github.com/sethvargo/go-retry",
		"go.uber.org/goleak",
		"go.uber.org/multierr",
		"golang.org/x/sync",
		"golang.org/x/text",
		"testing",
	},
	"./kafkaadapter": {
		"github.com/google/uuid",
		"github.com/jackc/pgpassfile",
		"github.com/jackc/pgservicefile",
		"github.com/jackc/pgx/v5",
		"github.com/jackc/puddle/v2",
		"github.com/klauspost/compress",
		"github.com/pierrec/lz4/v4",
		"github.com/segmentio/kafka-go",
		"golang.org/x/sync",
		"golang.org/x/text",
	},
	"./franzadapter": {
		"github.com/google/uuid",
		"github.com/jackc/pgpassfile",
		"github.com/jackc/pgservicefile",
		"github.com/jackc/pgx/v5",
		"github.com/jackc/puddle/v2",
		"github.com/klauspost/compress",
		"github.com/pierrec/lz4/v4",
		"github.com/twmb/franz-go",
		"github.com/twmb/franz-go/pkg/kmsg",
		"golang.org/x/sync",
		"golang.org/x/text",
	},
	"./idemotel": {
		"github.com/cespare/xxhash/v2",
		"github.com/go-logr/logr",
		"github.com/go-logr/stdr",
		"github.com/google/uuid",
		"github.com/jackc/pgpassfile",
		"github.com/jackc/pgservicefile",
		"github.com/jackc/pgx/v5",
		"github.com/jackc/puddle/v2",
		"go.opentelemetry.io/auto/sdk",
		"go.opentelemetry.io/otel",
		"go.opentelemetry.io/otel/log",
		"go.opentelemetry.io/otel/metric",
		"go.opentelemetry.io/otel/trace",
		"golang.org/x/sync",
		"golang.org/x/text",
	},
	"./idemsql": pgx,
	"./ops":     ofOps,
	"./console": ofOps,
}

// origin is a template of "go list" for where a package comes from: its module, or "testing"
// for that one package of the standard library, which services should not inherit either.
const origin = `{{if not .Standard}}{{.Module.Path}}{{else if eq .ImportPath "testing"}}testing{{end}}`

// TestImports keeps out what services are not to inherit: idem knows PostgreSQL only, consume and the
// engine no Kafka client, kafkaadapter and franzadapter one each, idemotel no SDK of OpenTelemetry, idemsql no driver but pgx, and none of them migrations or tests. ops knows migrations, and no
// Kafka; the console is made of ops and the standard library.
func TestImports(t *testing.T) {
	t.Parallel()
	for name, allowed := range inherited {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			origins := strings.Fields(run(t, filepath.Join(root, name), "Make the package compile.", nil,
				"go", "list", "-deps", "-f", origin, "."))
			slices.Sort(origins)
			for _, inheritance := range slices.Compact(origins) {
				if inheritance != module && inheritance != module+"/"+filepath.Base(name) && !slices.Contains(allowed, inheritance) {
					t.Errorf("services that import %s inherit %s: move what needs it to another package or, if they should, allow it here", name, inheritance)
				}
			}
		})
	}
}

// rooms are the packages that services and operators use, from below: each may import those before it, and
// besides them only what is internal and in no room.
var rooms = [][]string{
	{"schema", "db", "idem", "consume", "internal/engine", "outbox", "kafkaadapter"},
	{"schema", "db", "idem", "consume", "health"},
	{"schema", "schema/migrate", "db", "idem", "ops", "console", "cmd/idemctl"},
	{"schema", "schema/migrate", "db", "idem", "consume", "internal/engine", "ops", "idem/idemtest"},
}

func TestImportsPointDown(t *testing.T) {
	t.Parallel()
	all := slices.Concat(rooms...)
	for _, above := range rooms {
		for i, room := range above {
			for line := range strings.FieldsSeq(run(t, root, "Make the package compile.", nil, "go", "list", "-deps", "./"+room)) {
				name, ours := strings.CutPrefix(line, module+"/")
				if !ours || slices.Contains(above[:i+1], name) || strings.HasPrefix(name, room+"/") {
					continue
				}
				if !strings.HasPrefix(name, "internal/") || slices.Contains(all, name) {
					t.Errorf("%s imports %s: imports point down", room, name)
				}
			}
		}
	}
}

// foreign are parts of the paths of modules that belong into nested modules only, because
// go.mod and go.sum of the root are part of those of every service.
var foreign = []string{"/sqlc", "/golangci-lint", "/franz-go", "/embedded-postgres"}

func TestRootModule(t *testing.T) {
	t.Parallel()
	all := run(t, root, "Mend go.mod.", nil, "go", "list", "-m", "all")
	for line := range strings.Lines(all) {
		for _, part := range foreign {
			if strings.Contains(line, part) {
				t.Errorf("the root go.mod brings in %s: require it in a nested module only", strings.TrimSpace(line))
			}
		}
	}
}

func TestModules(t *testing.T) {
	t.Parallel()
	for _, file := range files(t, "go.mod") {
		folder := filepath.Dir(file)
		name, err := filepath.Rel(root, folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			run(t, folder, "Run \"go mod tidy\" in the folder "+name+".", nil, "go", "mod", "tidy", "-diff")
			if strings.HasPrefix(name, "tools/") {
				return // There are no packages.
			}
			run(t, folder, "Mend what vet complains about.", nil, "go", "vet", "./...")
		})
	}
}

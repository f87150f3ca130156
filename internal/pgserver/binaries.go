package pgserver

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

const (
	// envBinaries names the folder of the binaries, or is forceEmbedded, alone or with a major
	// version: "embedded-14".
	envBinaries   = "IDEM_TEST_PG"
	forceEmbedded = "embedded"

	minMajor = 14
)

// installed are the folders in which packages put the binaries of the server.
var installed = []string{
	"/usr/lib/postgresql/*/bin",                          // Debian, Ubuntu
	"/usr/pgsql-*/bin",                                   // PostgreSQL's packages for Red Hat
	"/usr/libexec/postgresql*",                           // Alpine
	"/opt/homebrew/opt/postgresql@*/bin",                 // Homebrew on Apple silicon
	"/usr/local/opt/postgresql@*/bin",                    // Homebrew on Intel
	"/Applications/Postgres.app/Contents/Versions/*/bin", // Postgres.app
	"/usr/local/pgsql/bin",                               // from source
}

var (
	majorVersion = regexp.MustCompile(`\(PostgreSQL\) (\d+)`)
	number       = regexp.MustCompile(`\d+`)
)

// binaries returns the folder of the PostgreSQL binaries to use.
func binaries(ctx context.Context, progress io.Writer) (string, error) {
	wanted := os.Getenv(envBinaries)
	if major, named := strings.CutPrefix(wanted, forceEmbedded+"-"); named {
		return embedded(ctx, progress, major)
	}
	switch wanted {
	case "":
	case forceEmbedded:
		return embedded(ctx, progress)
	default:
		if err := checkBinaries(ctx, wanted); err != nil {
			return "", fmt.Errorf("%s must be the folder of PostgreSQL's binaries, %q or that with a version (%q): %w",
				envBinaries, forceEmbedded, forceEmbedded+"-14", err)
		}

		return wanted, nil
	}

	var rejected error
	for _, folder := range candidates(ctx) {
		err := checkBinaries(ctx, folder)
		if err == nil {
			return folder, nil
		}
		if !errors.Is(err, os.ErrNotExist) {
			rejected = errors.Join(rejected, err)
		}
	}

	folder, err := embedded(ctx, progress)
	if err != nil {
		return "", errors.Join(
			fmt.Errorf("no PostgreSQL server of version %d or newer is installed, and downloading one failed: install the PostgreSQL server, or set %s to the folder of its binaries: %w", minMajor, envBinaries, err),
			rejected)
	}

	return folder, nil
}

// candidates lists folders that may hold the binaries, the best first.
func candidates(ctx context.Context) []string {
	var folders []string
	if output, err := exec.CommandContext(ctx, "pg_config", "--bindir").Output(); err == nil {
		folders = append(folders, strings.TrimSpace(string(output)))
	}
	if path, err := exec.LookPath("postgres"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			folders = append(folders, filepath.Dir(path))
		}
	}
	for _, pattern := range installed {
		found, err := filepath.Glob(pattern)
		if err != nil {
			continue // It is well-formed.
		}
		slices.SortFunc(found, func(a, b string) int { return cmp.Compare(versionIn(b), versionIn(a)) })
		folders = append(folders, found...)
	}

	return folders
}

// versionIn is the first number in a path: 17 comes before 9.
func versionIn(path string) int {
	n, err := strconv.Atoi(number.FindString(path))
	if err != nil {
		return 0
	}

	return n
}

// checkBinaries returns nil if the folder holds a server that is new enough, and an error
// that wraps os.ErrNotExist if it holds none.
func checkBinaries(ctx context.Context, folder string) error {
	if _, err := os.Stat(filepath.Join(folder, "initdb")); err != nil {
		return err
	}
	program := filepath.Join(folder, "postgres")
	output, err := exec.CommandContext(ctx, program, "--version").Output()
	if err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	match := majorVersion.FindSubmatch(output)
	if match == nil {
		return fmt.Errorf("%s: cannot tell its version from %q", program, output)
	}
	if major, err := strconv.Atoi(string(match[1])); err != nil || major < minMajor {
		return fmt.Errorf("%s is PostgreSQL %s, %d or newer is needed", program, match[1], minMajor)
	}

	return nil
}

// embedded returns the folder of downloaded binaries, of the given major version if there is
// one. A program in a module of its own gets
// them, so that this module does not depend on what it takes to do so.
func embedded(ctx context.Context, progress io.Writer, major ...string) (string, error) {
	_, source, _, _ := runtime.Caller(0) //nolint:dogsled // Only the file is of interest.
	folder, program := downloader(source)
	environment := append(os.Environ(), "GOWORK=off")
	if program != "." {
		environment = append(environment, "GOFLAGS="+os.Getenv("GOFLAGS")+" -mod=mod") // A vendor folder does not have it.
		// "go run" looks for it in this module only, once that is in the cache.
		if _, err := goCommand(ctx, progress, folder, environment, "mod", "download", program); err != nil {
			return "", err
		}
	}
	output, err := goCommand(ctx, progress, folder, environment, append([]string{"run", program}, major...)...)

	return strings.TrimSpace(output), err
}

// goCommand runs the go command in a folder and returns what it prints.
func goCommand(ctx context.Context, progress io.Writer, folder string, environment []string, args ...string) (string, error) {
	var messages bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir = folder
	cmd.Env = environment
	cmd.Stderr = io.MultiWriter(progress, &messages)
	output, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("download PostgreSQL: %w\n%s", err, messages.String())
	}

	return string(output), nil
}

const module = "github.com/nova-events/idempotent-consumer"

// downloader returns the program that downloads, and the folder in which to run it. In a checkout it stands beside the
// package of the source file. A release of this module does not hold it, because it is another module, which is
// released with the same version.
func downloader(source string) (folder, program string) {
	beside := filepath.Join(filepath.Dir(source), "..", "embeddedpg")
	if _, err := os.Stat(beside); err == nil {
		return beside, "."
	}
	version := "latest" // of what is vendored
	if _, after, found := strings.Cut(filepath.ToSlash(source), module+"@"); found {
		version, _, _ = strings.Cut(after, "/")
	}

	return os.TempDir(), module + "/internal/embeddedpg@" + version
}

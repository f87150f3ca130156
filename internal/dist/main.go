// Dist makes what a release of idemctl consists of: for each platform an archive with the program, its manual page
// and completions, and the licences, and a bill of materials (CycloneDX); and the checksums of all. The same
// source, version and Go make the same bytes, wherever they are built ("make dist", docs/release.md).
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/licences"
)

const platforms = "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64,windows/amd64,windows/arm64"

func main() {
	log.SetFlags(0)
	version := flag.String("version", "", "the `VERSION` that idemctl says it has")
	folder := flag.String("o", "dist", "the `FOLDER` to write to, which is emptied first")
	wanted := flag.String("platforms", platforms, "for which `PLATFORMS`")
	flag.Parse()
	if *version == "" || flag.NArg() > 0 {
		log.Fatal("usage: go run ./internal/dist -version VERSION [-o FOLDER] [-platforms GOOS/GOARCH,...], in the root of the repository")
	}
	modified, err := sourceDate(os.Getenv("SOURCE_DATE_EPOCH"))
	if err == nil {
		err = distribute(context.Background(), *version, *folder, modified, strings.Split(*wanted, ","))
	}
	if err != nil {
		log.Fatal(err)
	}
}

// sourceDate is the time of all files in the archives: that of the source, in seconds since 1970
// (https://reproducible-builds.org/specs/source-date-epoch/), else the first that a zip archive can tell.
func sourceDate(text string) (time.Time, error) {
	if text == "" {
		return time.Date(1980, time.January, 1, 0, 0, 0, 0, time.UTC), nil
	}
	seconds, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return time.Time{}, fmt.Errorf("SOURCE_DATE_EPOCH: %w", err)
	}

	return time.Unix(seconds, 0).UTC(), nil
}

func distribute(ctx context.Context, version, folder string, modified time.Time, platforms []string) error {
	if err := errors.Join(os.RemoveAll(folder), os.MkdirAll(folder, 0o755)); err != nil { //nolint:gosec // It is for everybody.
		return err
	}
	work, err := os.MkdirTemp("", "idemctl-dist-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work) //nolint:errcheck // It is temporary.

	common, err := commonFiles(ctx, version, work)
	if err != nil {
		return err
	}
	for _, platform := range platforms {
		system, architecture, _ := strings.Cut(platform, "/")
		program := filepath.Join(work, system, architecture, "idemctl")
		if system == "windows" {
			program += ".exe"
		}
		name := filepath.Join(folder, strings.Join([]string{"idemctl", version, system, architecture}, "_"))
		err := build(ctx, ".", version, system, architecture, program)
		if err == nil {
			err = billOfMaterials(ctx, version, program, name+".cdx.json")
		}
		var content []byte
		if err == nil {
			content, err = os.ReadFile(program)
		}
		if err == nil {
			files := append(slices.Clone(common), file{name: filepath.Base(program), content: content, program: true})
			err = archive(name, system, modified, files)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", platform, err)
		}
	}

	return checksums(folder)
}

// build builds idemctl from the source in a folder. Nothing of the environment but the cache and the Go that is used has a
// part in the result; the repository has none, either, so that an archive of the source makes the same program.
func build(ctx context.Context, source, version, system, architecture, program string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-C", source, "-trimpath", "-buildvcs=false",
		"-ldflags=-s -w -buildid= -X main.version="+version, "-o", program, "./cmd/idemctl")
	cmd.Env = append(cmd.Environ(), "GOOS="+system, "GOARCH="+architecture,
		"CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off", "GODEBUG=")

	return run(cmd)
}

// billOfMaterials writes which modules, of which versions, a program is made of. It reads them from the program itself.
func billOfMaterials(ctx context.Context, version, program, output string) error {
	cmd := exec.CommandContext(ctx, "go", "tool", "-modfile=tools/sbom/go.mod", "cyclonedx-gomod", "bin",
		"-json", "-std", "-noserial", "-notimestamp", "-version", version, "-output", output, program)
	cmd.Env = append(cmd.Environ(), "CGO_ENABLED=0", "GOFLAGS=-trimpath -buildvcs=false") // It names itself by its checksum.

	return run(cmd)
}

func run(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}

	return nil
}

// commonFiles are those that are the same for all platforms.
func commonFiles(ctx context.Context, version, work string) ([]file, error) {
	licence, err := os.ReadFile("LICENSE")
	if err != nil {
		return nil, err
	}
	used, err := licences.Of(ctx, ".", "./cmd/idemctl")
	if err != nil {
		return nil, err
	}
	files := []file{{name: "LICENSE", content: licence}, {name: "THIRD-PARTY-LICENSES", content: thirdParty(used)}}

	program := filepath.Join(work, "idemctl")
	if err := build(ctx, ".", version, runtime.GOOS, runtime.GOARCH, program); err != nil {
		return nil, err
	}
	for name, args := range map[string][]string{
		"man/man1/idemctl.1":       {"man"},
		"completions/idemctl.bash": {"completion", "bash"},
		"completions/_idemctl":     {"completion", "zsh"},
		"completions/idemctl.fish": {"completion", "fish"},
		"completions/idemctl.ps1":  {"completion", "powershell"},
	} {
		content, err := exec.CommandContext(ctx, program, args...).Output()
		if err != nil {
			return nil, fmt.Errorf("idemctl %v: %w", args, err)
		}
		files = append(files, file{name: name, content: content})
	}

	return files, nil
}

// thirdParty is a text with the licences of all modules that go into idemctl.
func thirdParty(used []licences.Module) []byte {
	const line = "================================================================================\n"
	var b strings.Builder
	b.WriteString("Idemctl contains the modules below, each under its own licence.\n\n")
	for _, m := range used {
		fmt.Fprintf(&b, "%s%s %s: %s\n%s\n%s\n", line, m.Path, m.Version, strings.Join(m.Licences, ", "), line, strings.Join(m.Texts, "\n"))
	}

	return []byte(b.String())
}

// checksums writes those of all files in a folder, as sha256sum -c reads them.
func checksums(folder string) error {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, entry := range entries {
		content, err := os.ReadFile(filepath.Join(folder, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%x  %s\n", sha256.Sum256(content), entry.Name())
	}

	return os.WriteFile(filepath.Join(folder, "SHA256SUMS"), []byte(b.String()), 0o644) //nolint:gosec // It is for everybody.
}

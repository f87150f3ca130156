//go:build verify

package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// The program is built once more from a copy of the source in another folder, by a compiler that has nothing in its cache.
func TestProgramIsReproducible(t *testing.T) {
	here, elsewhere := filepath.Join(t.TempDir(), "idemctl"), filepath.Join(t.TempDir(), "idemctl")
	if err := build(t.Context(), root, "v1.2.3", runtime.GOOS, runtime.GOARCH, here); err != nil {
		t.Fatal(err)
	}
	source := t.TempDir()
	listed, err := exec.CommandContext(t.Context(), "git", "-C", root, "ls-files", ":!docs").Output()
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(listed)) {
		content, err := os.ReadFile(filepath.Join(root, name))
		if errors.Is(err, os.ErrNotExist) {
			continue // Deleted and not committed.
		}
		path := filepath.Join(source, name)
		if err := errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o750), os.WriteFile(path, content, 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	t.Setenv("GOCACHE", t.TempDir())
	t.Setenv("GOFLAGS", "-tags=other")
	if err := build(t.Context(), source, "v1.2.3", runtime.GOOS, runtime.GOARCH, elsewhere); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(content(t, here), content(t, elsewhere)) {
		t.Error("the same source makes another program in another folder")
	}
}

func TestArchivesAreReproducible(t *testing.T) {
	t.Parallel()
	modified, err := sourceDate("1800000000")
	if err != nil {
		t.Fatal(err)
	}
	files := []file{{name: "b", content: []byte("2")}, {name: "a/x", content: []byte("1"), program: true}}
	for system, extension := range map[string]string{"linux": ".tar.gz", "windows": ".zip"} {
		var made []string
		for range 2 {
			path := filepath.Join(t.TempDir(), "x")
			if err := archive(path, system, modified, files); err != nil {
				t.Fatal(err)
			}
			made = append(made, path+extension)
			slices.Reverse(files)
		}
		if !bytes.Equal(content(t, made[0]), content(t, made[1])) {
			t.Errorf("two archives for %s differ", system)
		}
		if system == "linux" {
			if got := untar(t, made[0]); string(got["x/a/x"]) != "1" || string(got["x/b"]) != "2" {
				t.Errorf("the archive has %q", got)
			}

			continue
		}
		unpacked, err := zip.OpenReader(made[0])
		if err != nil {
			t.Fatal(err)
		}
		if first := unpacked.File[0]; first.Name != "x/a/x" || first.Mode() != 0o755 || !first.Modified.Equal(modified) {
			t.Errorf("the archive begins with %+v", first)
		}
		if err := unpacked.Close(); err != nil {
			t.Error(err)
		}
	}
}

// What is distributed has all that an archive should, its checksums are right, and the program says its version.
func TestDistribute(t *testing.T) {
	t.Chdir(root)
	folder := filepath.Join(t.TempDir(), "dist")
	modified, err := sourceDate("1800000000")
	if err != nil {
		t.Fatal(err)
	}
	own := runtime.GOOS + "/" + runtime.GOARCH
	if err := distribute(t.Context(), "v1.2.3", folder, modified, []string{own}); err != nil {
		t.Fatal(err)
	}
	sums := content(t, filepath.Join(folder, "SHA256SUMS"))
	if lines := bytes.Count(sums, []byte("\n")); lines != 2 { // The archive and the bill of materials.
		t.Errorf("%d checksums:\n%s", lines, sums)
	}
	for line := range strings.Lines(string(sums)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		if got := fmt.Sprintf("%x", sha256.Sum256(content(t, filepath.Join(folder, name)))); got != sum {
			t.Errorf("%s: %s, want %s", name, sum, got)
		}
	}

	name := "idemctl_v1.2.3_" + strings.ReplaceAll(own, "/", "_")
	files := untar(t, filepath.Join(folder, name+".tar.gz"))
	for path, holds := range map[string]string{
		"LICENSE": "MIT License", "THIRD-PARTY-LICENSES": "github.com/spf13/cobra", "man/man1/idemctl.1": ".TH \"IDEMCTL\"",
		"completions/idemctl.bash": "__complete", "completions/_idemctl": "#compdef idemctl", "completions/idemctl.fish": "complete -c idemctl",
		"completions/idemctl.ps1": "Register-ArgumentCompleter", "idemctl": "v1.2.3",
	} {
		if !bytes.Contains(files[name+"/"+path], []byte(holds)) {
			t.Errorf("%s lacks %q", path, holds)
		}
	}
	if bill := content(t, filepath.Join(folder, name+".cdx.json")); !bytes.Contains(bill, []byte(`"name": "github.com/jackc/pgx/v5"`)) {
		t.Errorf("the bill of materials lacks pgx:\n%s", bill)
	}
	program := filepath.Join(t.TempDir(), "idemctl")
	if err := os.WriteFile(program, files[name+"/idemctl"], 0o700); err != nil { //nolint:gosec // It is run below.
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput(); err != nil || !strings.Contains(string(out), "v1.2.3") {
		t.Errorf("%v: %s", err, out)
	}
}

func content(t *testing.T, path string) []byte {
	t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}

	return content
}

// untar returns the files of an archive by their paths. They must be of 1800000000 and of nobody.
func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	plain, err := gzip.NewReader(bytes.NewReader(content(t, path)))
	if err != nil {
		t.Fatal(err)
	}
	packed, files := tar.NewReader(plain), map[string][]byte{}
	for {
		header, err := packed.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if header.ModTime.Unix() != 1800000000 || header.Uid != 0 || header.Uname != "" {
			t.Errorf("%s is of %v and of user %d %q", header.Name, header.ModTime, header.Uid, header.Uname)
		}
		if files[header.Name], err = io.ReadAll(packed); err != nil {
			t.Fatal(err)
		}
	}
}

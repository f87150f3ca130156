package apachekafka

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestMissingPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("JAVA_HOME", "")
	if _, err := Start(t.Context(), Config{}); !errors.Is(err, ErrNoJava) {
		t.Errorf("error = %v, want %v", err, ErrNoJava)
	}
	if _, err := install(t.Context(), "no-such-version", io.Discard); !errors.Is(err, ErrNoMaven) {
		t.Errorf("error = %v, want %v", err, ErrNoMaven)
	}
}

func TestJavaIsTooOld(t *testing.T) {
	home := t.TempDir()
	if err := os.Mkdir(filepath.Join(home, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	script := "#!/bin/sh\necho 'openjdk version \"11.0.2\" 2019-01-15' >&2\n"
	if err := os.WriteFile(filepath.Join(home, "bin", "java"), []byte(script), 0o700); err != nil { //nolint:gosec // It is a program.
		t.Fatal(err)
	}
	t.Setenv("JAVA_HOME", home)
	if _, err := findJava(t.Context()); !errors.Is(err, ErrNoJava) || !strings.Contains(err.Error(), "is Java 11") {
		t.Errorf("error = %v, want %v", err, ErrNoJava)
	}
}

func TestNothingIsDownloadedTwice(t *testing.T) {
	requirePrograms(t)
	t.Setenv("PATH", t.TempDir())
	jars, err := install(t.Context(), defaultVersion(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(jars, "kafka_2.13-"+DefaultVersion+".jar")); err != nil {
		t.Error(err)
	}
}

func TestFailedDownloadTellsNoRegistry(t *testing.T) {
	t.Parallel()
	requirePrograms(t)
	var progress strings.Builder
	_, err := install(t.Context(), "0.0.0", &progress)
	if err == nil || !strings.Contains(err.Error(), "kafka_2.13:jar:0.0.0") {
		t.Fatalf("error = %v, want one that says what is not to be found", err)
	}
	if text := err.Error() + progress.String(); strings.Contains(text, "://") {
		t.Errorf("a registry is named: %s", text)
	}
}

package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
)

// ErrNoJava is returned when no Java is installed that can run Apache Kafka.
var ErrNoJava = errors.New("no Java 17 or newer: install a Java runtime (Debian: default-jre-headless, Homebrew: openjdk) and have it in the PATH or in JAVA_HOME")

const minJava = 17

var javaVersion = regexp.MustCompile(`version "(\d+)`)

// findJava returns the path of a program that runs Java, which must be recent enough.
func findJava(ctx context.Context) (string, error) {
	java := "java"
	if home := os.Getenv("JAVA_HOME"); home != "" {
		java = filepath.Join(home, "bin", "java")
	}
	path, err := exec.LookPath(java)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrNoJava, err)
	}
	// macOS has a program of that name which only says that there is none.
	output, err := exec.CommandContext(ctx, path, "-version").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w: %s: %w\n%s", ErrNoJava, path, err, output)
	}
	match := javaVersion.FindSubmatch(output)
	if match == nil {
		return "", fmt.Errorf("%w: cannot tell the version of %s from %q", ErrNoJava, path, output)
	}
	if version, err := strconv.Atoi(string(match[1])); err != nil || version < minJava {
		return "", fmt.Errorf("%w: %s is Java %s", ErrNoJava, path, match[1])
	}

	return path, nil
}

package apachekafka

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// ErrNoJavac is returned when the Java that is installed can run programs but not compile them.
var ErrNoJavac = errors.New("no Java compiler: install a JDK (Debian: default-jdk-headless, Homebrew: openjdk)")

// JavaClient runs programs that use Apache Kafka's Java client.
type JavaClient struct {
	java, folder, jars string
}

// CompileClient compiles a Java program, a file of source, into its folder. The client is of DefaultVersion, or
// of the version that IDEM_TEST_KAFKA_VERSION names. Errors are ErrNoJava, ErrNoJavac or ErrNoMaven if that is
// what must be installed first.
func CompileClient(ctx context.Context, source string) (*JavaClient, error) {
	c, err := compileClient(ctx, source)
	if err != nil {
		return nil, fmt.Errorf("apachekafka: %w", err)
	}

	return c, nil
}

func compileClient(ctx context.Context, source string) (*JavaClient, error) {
	java, err := findJava(ctx)
	if err != nil {
		return nil, err
	}
	if output, err := exec.CommandContext(ctx, java, "--describe-module", "jdk.compiler").CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %w\n%s", ErrNoJavac, err, output)
	}
	jars, err := install(ctx, defaultVersion(), os.Stderr)
	if err != nil {
		return nil, err
	}
	all, err := filepath.Glob(filepath.Join(jars, "*.jar")) // The compiler alone understands no wildcard.
	if err != nil {
		return nil, fmt.Errorf("find the jars: %w", err)
	}
	c := &JavaClient{java: java, folder: filepath.Dir(source), jars: strings.Join(all, string(filepath.ListSeparator))}
	if err := os.WriteFile(c.logging(), logging, 0o600); err != nil {
		return nil, fmt.Errorf("configure the client's log: %w", err)
	}
	cmd := exec.CommandContext(ctx, java, "--module", "jdk.compiler/com.sun.tools.javac.Main", "-cp", c.jars, "-d", c.folder, source)
	if output, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("compile %s: %w\n%s", source, err, output)
	}

	return c, nil
}

// Command runs a class of the program. What the client logs goes to the output.
func (c *JavaClient) Command(ctx context.Context, class string, args ...string) *exec.Cmd {
	return exec.CommandContext(ctx, c.java, append([]string{
		"-Xmx64m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", // As for brokers.
		"-Dlog4j2.configurationFile=" + c.logging(), "-cp", c.folder + string(filepath.ListSeparator) + c.jars, class,
	}, args...)...)
}

func (c *JavaClient) logging() string { return filepath.Join(c.folder, "log4j2.properties") }

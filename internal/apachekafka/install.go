package apachekafka

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"

	"github.com/nova-events/idempotent-consumer/internal/cache"
)

// ErrNoMaven is returned when Apache Kafka is to be downloaded and Maven, which does that, is
// not installed.
var ErrNoMaven = errors.New("no Maven: install it (Debian and Homebrew: maven) and have mvn in the PATH")

//go:embed pom.xml
var pom []byte

// addresses matches what Maven's messages say about the registry, which may be a private one
// with a password in its URL.
var addresses = regexp.MustCompile(`https?://[^\s),]+|[\w-]+(\.[\w-]+)+:\d+|(host:? |transfer to )\S+`)

// install returns the folder of Apache Kafka's jars, which it downloads unless that was done
// before.
func install(ctx context.Context, version string, progress io.Writer) (string, error) {
	folder, err := cache.Install(ctx, "apache-kafka-"+version, func(folder string) error {
		return download(ctx, version, folder, progress)
	})
	if err != nil {
		return "", fmt.Errorf("download Apache Kafka %s: %w", version, err)
	}

	return folder, nil
}

func download(ctx context.Context, version, folder string, progress io.Writer) error {
	maven, err := exec.LookPath("mvn")
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNoMaven, err)
	}
	project, err := os.MkdirTemp("", "idem-kafka-download-")
	if err != nil {
		return fmt.Errorf("create a temporary folder: %w", err)
	}
	defer os.RemoveAll(project) //nolint:errcheck // What is left does no harm.
	pomFile := filepath.Join(project, "pom.xml")
	if err := os.WriteFile(pomFile, pom, 0o600); err != nil {
		return fmt.Errorf("write for Maven: %w", err)
	}

	_, _ = fmt.Fprintf(progress, "downloading Apache Kafka %s with Maven (about 45 MB)\n", version)
	cmd := exec.CommandContext(ctx, maven, "--quiet", "--batch-mode", "--strict-checksums", "--file", pomFile,
		"-Dstyle.color=never", "-Dkafka.version="+version, "-DoutputDirectory="+folder, "dependency:copy-dependencies")
	if output, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", maven, err, addresses.ReplaceAll(output, []byte("(registry)")))
	}

	return nil
}

package examples_test

import (
	"encoding/json"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// composeCommand is what starts the servers of compose.yaml, for people.
const composeCommand = "docker compose up --detach --wait"

// TestCompose checks that compose.yaml is what the examples' messages say. There is no container here.
func TestCompose(t *testing.T) {
	t.Parallel()
	var file struct {
		Services map[string]struct {
			Image       string
			Environment map[string]string
			Ports       []string
			Healthcheck struct {
				Test []string
			}
		}
	}
	text := readYAML(t, "compose.yaml", &file)
	for _, want := range []string{composeCommand, "DATABASE_URL=postgres://postgres:example@localhost:5432/postgres KAFKA_BROKERS=localhost:9092"} {
		if !strings.Contains(text, want) || !strings.Contains(readme(t), want) {
			t.Errorf("compose.yaml or README.md does not say %q", want)
		}
	}
	postgres, kafka := file.Services["postgres"], file.Services["kafka"]
	if postgres.Environment["POSTGRES_PASSWORD"] != "example" || !slices.Equal(postgres.Ports, []string{"127.0.0.1:5432:5432"}) {
		t.Errorf("PostgreSQL is not where the messages say: %+v", postgres)
	}
	// Any variable would replace the image's own settings.
	if len(kafka.Environment) > 0 || !slices.Equal(kafka.Ports, []string{"127.0.0.1:9092:9092"}) {
		t.Errorf("Kafka is not where the messages say: %+v", kafka)
	}
	for name, service := range file.Services {
		_, version, _ := strings.Cut(service.Image, ":")
		if !strings.Contains(version, ".") || len(service.Healthcheck.Test) == 0 {
			t.Errorf("%s has no fixed version or no health check: %+v", name, service)
		}
	}
}

// TestCronJob runs what the manifest has Kubernetes run.
func TestCronJob(t *testing.T) {
	t.Parallel()
	type variable struct{ Name string }
	type container struct {
		Args []string
		Env  []variable
	}
	var manifest struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string
		Spec       struct {
			JobTemplate struct {
				Spec struct {
					Template struct {
						Spec struct{ Containers []container }
					}
				}
			} `yaml:"jobTemplate"`
		}
	}
	readYAML(t, "cleanup-job/cronjob.yaml", &manifest)
	containers := manifest.Spec.JobTemplate.Spec.Template.Spec.Containers
	if manifest.APIVersion != "batch/v1" || manifest.Kind != "CronJob" || len(containers) != 1 || len(containers[0].Env) != 1 {
		t.Fatalf("the manifest is not the one that this test knows: %+v", manifest)
	}

	db := pgtest.NewDB(t)
	guard, err := idem.New(db.Pool(t), idem.Config{Consumer: "payments", Retention: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := guard.MarkProcessed(t.Context(), "old"); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"run", "./cmd/idemctl"}, containers[0].Args...)...)
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), containers[0].Env[0].Name+"="+db.DSN)
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, output)
	}
	var result struct {
		Deleted int `json:"deleted"`
	}
	if err := json.Unmarshal(output, &result); err != nil || result.Deleted != 1 {
		t.Errorf("%v, want 1 event to be deleted: %s", err, output)
	}
}

func readYAML(t *testing.T, path string, to any) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, to); err != nil {
		t.Fatalf("%s: %v", path, err)
	}

	return string(text)
}

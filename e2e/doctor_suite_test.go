package e2e_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/ops"
)

// building builds idemctl once for each folder of a test: the go command keeps what it has compiled.
var building sync.Mutex

// patient is a database and a cluster that idemctl examines.
type patient struct {
	*bench

	idemctl string // the program
	brokers string // --brokers
}

func newPatient(t *testing.T, s *bench) *patient {
	t.Helper()
	building.Lock()
	defer building.Unlock()
	program := filepath.Join(t.TempDir(), "idemctl")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/idemctl")
	build.Dir = ".."
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, output)
	}

	return &patient{bench: s, idemctl: program, brokers: strings.Join(s.broker.Addrs, ",")}
}

// operators are of the owner's role, if there is one.
func (p *patient) operators() *pgxpool.Pool { return cmp.Or(p.owner, p.pool) }

// run runs idemctl and returns what it printed and its exit status.
func (p *patient) run(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	command := exec.CommandContext(t.Context(), p.idemctl, args...)
	var output, messages strings.Builder
	command.Stdout, command.Stderr = &output, &messages
	command.Env = append(command.Environ(), "IDEM_DATABASE_URL="+p.operators().Config().ConnConfig.ConnString(), "IDEM_BROKERS="+p.brokers)
	err := command.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}

	return output.String(), messages.String(), command.ProcessState.ExitCode()
}

// all are the findings of a check.
func (p *patient) all(t *testing.T, id string) []ops.Finding {
	t.Helper()
	stdout, stderr, _ := p.run(t, "doctor", "--json")
	var d ops.Diagnosis
	if err := json.Unmarshal([]byte(stdout), &d); err != nil {
		t.Fatalf("%v\n%s%s", err, stdout, stderr)
	}
	found := slices.DeleteFunc(d.Findings, func(f ops.Finding) bool { return f.ID != id })
	if len(found) == 0 {
		t.Fatalf("there is no check %s:\n%s", id, stdout)
	}

	return found
}

// must waits for a finding that has seen a text.
func (p *patient) must(t *testing.T, id string, severity ops.Severity, text string) (found ops.Finding) {
	t.Helper()
	until(t, id+": "+text, func() bool {
		for _, f := range p.all(t, id) {
			if f.Severity == severity && strings.Contains(f.Subject+": "+f.Seen, text) {
				found = f
			}
		}

		return found.ID != ""
	})

	return found
}

// cured waits until the check finds nothing of the subject.
func (p *patient) cured(t *testing.T, f ops.Finding) {
	t.Helper()
	until(t, f.ID+" to be cured", func() bool {
		return !slices.ContainsFunc(p.all(t, f.ID), func(other ops.Finding) bool {
			return other.Severity != ops.SeverityOK && other.Subject == f.Subject
		})
	})
}

// heal types the commands of a finding, and sees it gone.
func (p *patient) heal(t *testing.T, f ops.Finding) {
	t.Helper()
	if len(f.Commands) == 0 {
		t.Fatalf("%s has no command", f.ID)
	}
	for _, command := range f.Commands {
		words := strings.Fields(command)
		switch words[0] {
		case "idemctl":
			if _, stderr, status := p.run(t, append(words[1:], "--yes")...); status != 0 {
				t.Fatalf("%s: %d\n%s", command, status, stderr)
			}
		default:
			if err := p.kafkaTool(t.Context(), words); err != nil {
				t.Fatalf("%s: %v", command, err)
			}
		}
	}
	p.cured(t, f)
}

// kafkaTool does what one of Kafka's own programs does with these arguments.
func (p *patient) kafkaTool(ctx context.Context, words []string) error {
	flag := func(name string) string { return words[slices.Index(words, name)+1] }
	switch words[0] {
	case "kafka-configs.sh":
		return p.configure(ctx, kafka.ResourceTypeTopic, flag("--entity-name"), strings.Split(flag("--add-config"), ",")...)
	case "kafka-topics.sh":
		partitions, err := strconv.Atoi(flag("--partitions"))
		if err != nil {
			return err
		}
		response, err := p.broker.Client.CreateTopics(ctx, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
			{Topic: flag("--topic"), NumPartitions: partitions, ReplicationFactor: -1},
		}})
		if err != nil {
			return err
		}

		return response.Errors[flag("--topic")]
	case "kafka-consumer-groups.sh":
		topic, number, _ := strings.Cut(flag("--topic"), ":")
		partition, err := strconv.Atoi(number)
		if err != nil {
			return err
		}
		var offset int64
		if slices.Contains(words, "--to-current") {
			committed, err := p.broker.Client.OffsetFetch(ctx, &kafka.OffsetFetchRequest{GroupID: p.group, Topics: map[string][]int{topic: {partition}}})
			if err != nil {
				return err
			}
			offset = committed.Topics[topic][0].CommittedOffset
		} else if offset, err = strconv.ParseInt(flag("--to-offset"), 10, 64); err != nil {
			return err
		}

		return p.setOffset(ctx, topic, partition, offset, "")
	default:
		return errors.New("unknown program")
	}
}

// configure sets settings of a topic or a broker.
func (p *patient) configure(ctx context.Context, kind kafka.ResourceType, name string, settings ...string) error {
	resource := kafka.IncrementalAlterConfigsRequestResource{ResourceType: kind, ResourceName: name}
	for _, setting := range settings {
		name, value, _ := strings.Cut(setting, "=")
		resource.Configs = append(resource.Configs, kafka.IncrementalAlterConfigsRequestConfig{Name: name, Value: value, ConfigOperation: kafka.ConfigOperationSet})
	}
	response, err := p.broker.Client.IncrementalAlterConfigs(ctx, &kafka.IncrementalAlterConfigsRequest{Resources: []kafka.IncrementalAlterConfigsRequestResource{resource}})
	if err != nil {
		return err
	}

	return response.Resources[0].Error
}

// setOffset commits an offset for the group, which has no members.
func (p *patient) setOffset(ctx context.Context, topic string, partition int, offset int64, metadata string) error {
	response, err := p.broker.Client.OffsetCommit(ctx, &kafka.OffsetCommitRequest{GroupID: p.group, GenerationID: -1, Topics: map[string][]kafka.OffsetCommit{
		topic: {{Partition: partition, Offset: offset, Metadata: metadata}},
	}})
	if err != nil {
		return err
	}

	return response.Topics[topic][0].Error
}

func (p *patient) exec(t *testing.T, sql string, args ...any) {
	t.Helper()
	if _, err := p.operators().Exec(t.Context(), sql, args...); err != nil {
		t.Fatal(err)
	}
}

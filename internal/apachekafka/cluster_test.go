package apachekafka

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/segmentio/kafka-go"
)

func TestRecordsSurvive(t *testing.T) {
	t.Parallel()
	cluster := start(t, Config{})
	addrs := cluster.Addrs()
	produce(t, cluster, "before all")

	if err := cluster.Restart(t.Context()); err != nil {
		t.Fatal(err)
	}
	produce(t, cluster, "after the restart")

	cluster.Kill()
	if isListening(t, addrs[0]) {
		t.Error("a killed broker is listening")
	}
	if err := cluster.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(cluster.Addrs(), addrs) {
		t.Errorf("the brokers came back at %v, want %v", cluster.Addrs(), addrs)
	}
	want := []string{"before all", "after the restart"}
	if got := consume(t, cluster, "after the restart"); !slices.Equal(got, want) {
		t.Errorf("records = %q, want %q", got, want)
	}
}

func TestThreeBrokersSurviveTheLossOfOne(t *testing.T) { //nolint:paralleltest // Three at a time are enough.
	cluster := start(t, Config{Brokers: 3})
	produce(t, cluster, "with three")

	cluster.Kill(2)
	produce(t, cluster, "with two")
	if err := cluster.Recover(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	produce(t, cluster, "with three again")
	want := []string{"with three", "with two", "with three again"}
	if got := consume(t, cluster, "with three again"); !slices.Equal(got, want) {
		t.Errorf("records = %q, want %q", got, want)
	}
}

func TestSettingsUserAndStop(t *testing.T) {
	t.Parallel()
	requirePrograms(t)
	const name, value = "group.max.size", "17"
	cluster, err := Start(t.Context(), Config{Settings: map[string]string{name: value}})
	if err != nil {
		t.Fatal(err)
	}
	response, err := client(t, cluster).DescribeConfigs(t.Context(), &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{{
			ResourceType: kafka.ResourceTypeBroker, ResourceName: "1", ConfigNames: []string{name},
		}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := response.Resources[0].ConfigEntries[0].ConfigValue; got != value {
		t.Errorf("%s = %s, want %s", name, got, value)
	}
	data := cluster.home.Path(cluster.nodes[0].name())
	info, err := os.Stat(data)
	if err != nil {
		t.Fatal(err)
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; owner == 0 { //nolint:forcetypeassert // It is POSIX.
		t.Error("the broker runs as root")
	}

	if err := cluster.Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Dir(data)); !os.IsNotExist(err) {
		t.Errorf("the folder of the stopped cluster: %v, want not exist", err)
	}
	if isListening(t, cluster.Addrs()[0]) {
		t.Error("the stopped broker is listening")
	}
}

func TestFailedStartShowsTheLog(t *testing.T) {
	t.Parallel()
	requirePrograms(t)
	_, err := Start(t.Context(), Config{Settings: map[string]string{"metric.reporters": "no.such.Reporter"}})
	if err == nil || !strings.Contains(err.Error(), "no.such.Reporter") {
		t.Errorf("error = %v, want one with Kafka's own words", err)
	}
}

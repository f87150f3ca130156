package main

import (
	"bytes"
	"errors"
	"strings"
	"testing"
)

func TestWrongUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"--broker", "pulsar"}, {"--events", "0"}, {"--events", "-1"}, {"--partitions", "0"}, {"--partitions", "1001"},
		{"--failover", "--dsn", "postgres://localhost/test"},
		{"--failover", "--keep"},
		{"--console", "--failover"},
	} {
		command := newCommand(&bytes.Buffer{}, &bytes.Buffer{})
		command.SetArgs(args)
		if err := command.ExecuteContext(t.Context()); !errors.Is(err, errUsage) || !strings.Contains(err.Error(), args[0]) {
			t.Errorf("%v: error = %v, want one that names %s", args, err, args[0])
		}
	}
}

func TestHelpGoesToStdout(t *testing.T) {
	t.Parallel()
	var out, messages bytes.Buffer
	command := newCommand(&out, &messages)
	command.SetArgs([]string{"--help"})
	if err := command.ExecuteContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "Exit status") || messages.Len() > 0 {
		t.Errorf("stdout:\n%s\nstderr:\n%s", out.String(), messages.String())
	}
}

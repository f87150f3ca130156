package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/cache"
)

const (
	crate   = "tla-checker"
	version = "0.24.11"

	// mostStates is far beyond what the model has.
	mostStates = "20000000"
)

// install returns the checker's program, which cargo builds the first time. That takes two minutes of two cores.
func install(ctx context.Context) (string, error) {
	folder, err := cache.Install(ctx, crate+"-"+version, func(folder string) error {
		cmd := exec.CommandContext(ctx, "cargo", "install", crate, "--version="+version, "--locked", "--bin=tla", "--root="+folder)
		// Optimizing it more makes it no faster, but the build longer.
		cmd.Env = append(os.Environ(), "CARGO_PROFILE_RELEASE_LTO=false", "CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16", "CARGO_PROFILE_RELEASE_OPT_LEVEL=1")
		if output, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("build %s with cargo (Rust 1.88 or newer): %w\n%s", crate, err, output)
		}

		return nil
	})

	return filepath.Join(folder, "bin", "tla"), err
}

// result is what the checker has found.
type result struct {
	states  int
	seconds float64
	broken  string // the promise, or ""
	steps   []step // to where it is broken
	again   []step // that are then repeated for ever
}

// step is a variable of idem.tla, said.
type step struct {
	who  int // a consumer, or 0
	what string
}

func (s *step) UnmarshalJSON(data []byte) error {
	var pair [2]json.RawMessage
	if err := json.Unmarshal(data, &pair); err != nil {
		return nil //nolint:nilerr // It is the empty text of the first state.
	}

	return errors.Join(json.Unmarshal(pair[0], &s.who), json.Unmarshal(pair[1], &s.what))
}

func (r result) String() string {
	if r.broken == "" {
		return fmt.Sprintf("%d states in %.0f s", r.states, r.seconds)
	}

	return fmt.Sprintf("%s is broken after %d steps in %.0f s", r.broken, len(r.steps), r.seconds)
}

// run runs the checker.
func (c check) run(ctx context.Context, checker, specification string) (result, error) {
	folder, err := os.MkdirTemp("", "model")
	if err != nil {
		return result{}, err
	}
	defer os.RemoveAll(folder) //nolint:errcheck // It is a temporary one.
	config := filepath.Join(folder, c.name+".cfg")
	if err := os.WriteFile(config, []byte(c.configuration()), 0o600); err != nil {
		return result{}, err
	}
	began := time.Now()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, checker, specification, "--config", config, "--json", "--max-states", mostStates)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	failed := cmd.Run()
	r, err := parse(stdout.Bytes())
	if err != nil {
		return result{}, fmt.Errorf("%w: %w\n%s", err, failed, strings.TrimSpace(stderr.String()))
	}
	r.seconds = time.Since(began).Seconds()

	return r, nil
}

// parse reads what the checker prints behind what it says to people.
func parse(output []byte) (result, error) {
	type state struct {
		State struct {
			Said step `json:"said"`
		} `json:"state"`
	}
	var found struct {
		Status    string `json:"status"`
		Invariant string `json:"invariant_name"`
		Property  string `json:"property"`
		Stats     struct {
			States int `json:"states_explored"`
		} `json:"stats"`
		Trace  []state `json:"trace"`
		Prefix []state `json:"prefix"` // of a cycle
		Cycle  []state `json:"cycle"`
	}
	start := bytes.Index(output, []byte("\n{"))
	if start < 0 {
		return result{}, errors.New("the checker does not answer")
	}
	if err := json.Unmarshal(output[start:], &found); err != nil {
		return result{}, fmt.Errorf("read the checker's answer: %w", err)
	}
	said := func(states []state) []step {
		var steps []step
		for _, s := range states {
			if s.State.Said.what != "" {
				steps = append(steps, s.State.Said)
			}
		}

		return steps
	}
	r := result{states: found.Stats.States, broken: found.Invariant + found.Property, steps: said(append(found.Trace, found.Prefix...)), again: said(found.Cycle)}
	if found.Status != "ok" && r.broken == "" {
		return result{}, fmt.Errorf("the checker ends with %q", found.Status)
	}

	return r, nil
}

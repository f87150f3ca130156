package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// programs are those of the workers.
type programs struct {
	this string // this one, or one whose clock can be stepped
	next string // the next release's, if the plan needs it
}

func (p plan) build(ctx context.Context, folder string) (built programs, err error) {
	if built.this, err = os.Executable(); err != nil {
		return built, err
	}
	overlay, tags := map[string]string{}, ""
	if p.clocks {
		if err := steppedTime(ctx, folder, overlay); err != nil {
			return built, err
		}
		tags = "clocks"
		if built.this, err = compile(ctx, filepath.Join(folder, "worker"), tags, overlay); err != nil {
			return built, err
		}
	}
	if p.has(migrateUp) {
		if err := nextRelease(ctx, folder, overlay); err != nil {
			return built, err
		}
		built.next, err = compile(ctx, filepath.Join(folder, "next-worker"), tags, overlay)
	}

	return built, err
}

// compile builds this program with other sources, and returns its name.
func compile(ctx context.Context, name, tags string, overlay map[string]string) (string, error) {
	file := name + ".overlay.json"
	if err := writeJSON(file, map[string]map[string]string{"Replace": overlay}); err != nil {
		return "", err
	}
	command := exec.CommandContext(ctx, "go", "build", "-overlay="+file, "-tags="+tags, "-o="+name, module+"/e2e/chaos")
	if said, err := command.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w\n%s", filepath.Base(name), err, said)
	}

	return name, nil
}

// replace replaces what stands in a source once.
func replace(text []byte, before, after string) ([]byte, error) {
	if bytes.Count(text, []byte(before)) != 1 {
		return nil, fmt.Errorf("%q is not in it once", before)
	}

	return bytes.Replace(text, []byte(before), []byte(after), 1), nil
}

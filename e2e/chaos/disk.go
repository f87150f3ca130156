package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// disk is a file system of the servers alone, so that it can be full.
type disk struct{ folder string }

// mountDisk needs root.
func mountDisk(ctx context.Context) (*disk, error) {
	folder, err := os.MkdirTemp("", "idem-chaos-disk-")
	if err != nil {
		return nil, err
	}
	if output, err := exec.CommandContext(ctx, "mount", "-t", "tmpfs", "-o", "mode=1777,size=2g", "idem-chaos", folder).CombinedOutput(); err != nil {
		return nil, errors.Join(fmt.Errorf("mount a file system: %w: %s", err, output), os.Remove(folder))
	}

	return &disk{folder}, nil
}

func (d *disk) unmount() error {
	return errors.Join(exec.Command("umount", "-l", d.folder).Run(), os.Remove(d.folder)) //nolint:noctx // Also at the end.
}

// fill leaves not a byte free for some time.
func (d *disk) fill(ctx context.Context, long time.Duration) error {
	name := filepath.Join(d.folder, "ballast")
	ballast, err := os.Create(name)
	if err != nil {
		return err
	}
	defer os.Remove(name) //nolint:errcheck // It is on a file system that goes away.
	defer ballast.Close() //nolint:errcheck // As above.
	block := make([]byte, 1<<20)
	for began := time.Now(); time.Since(began) < long && ctx.Err() == nil; {
		if _, err := ballast.Write(block); errors.Is(err, syscall.ENOSPC) { // Also again what was freed meanwhile.
			wait(ctx, long/20)
		} else if err != nil {
			return err
		}
	}

	return nil
}

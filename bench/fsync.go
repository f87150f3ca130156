package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

const fsyncName = "fsync"

// fsyncSubject writes a block of 8 KiB of a file that has its size already, and has the disk keep
// it, one after the other: what one session that commits must wait for.
func fsyncSubject() subject {
	return subject{name: fsyncName, workers: 1, size: 1, run: func(ctx context.Context, _ *database, _ settings, _ load, w window) (sample, error) {
		const (
			block = 8 << 10
			size  = 16 << 20
		)
		file, err := os.CreateTemp("", "idem-bench-fsync-")
		if err != nil {
			return sample{}, fmt.Errorf("create a temporary file: %w", err)
		}
		defer os.Remove(file.Name()) //nolint:errcheck // What is left does no harm.
		defer file.Close()           //nolint:errcheck // The same.
		_, err = file.Write(make([]byte, size))
		if err = errors.Join(err, file.Sync()); err != nil {
			return sample{}, fmt.Errorf("write a temporary file: %w", err)
		}
		content := make([]byte, block)
		count := 0
		began := time.Now()
		for time.Since(began) < w.length && ctx.Err() == nil {
			content[count%block]++
			_, err := file.WriteAt(content, int64(count*block%size))
			if err = errors.Join(err, datasync(file)); err != nil {
				return sample{}, fmt.Errorf("write a block: %w", err)
			}
			count++
		}

		return sample{rate: float64(count) / time.Since(began).Seconds()}, ctx.Err()
	}}
}

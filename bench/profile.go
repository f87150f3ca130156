package main

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
)

// startProfile writes a CPU profile, if that is asked for, until the function is called.
func (b *bench) startProfile(id string) (stop func(), err error) {
	if b.settings.profile == "" {
		return nothing, nil
	}

	return profileTo(b.profilePath(id))
}

// profilePath is where the profile of a measurement goes. Empty: none is asked for.
func (b *bench) profilePath(id string) string {
	if b.settings.profile == "" {
		return ""
	}

	return filepath.Join(b.settings.profile, strings.ReplaceAll(id, "/", "_")+".pprof")
}

func profileTo(path string) (stop func(), err error) {
	file, err := os.Create(path) //nolint:gosec // The user chose the folder.
	if err != nil {
		return nil, fmt.Errorf("create a profile: %w", err)
	}
	if err := pprof.StartCPUProfile(file); err != nil {
		return nil, fmt.Errorf("start a profile: %w", err)
	}

	return func() {
		pprof.StopCPUProfile()
		_ = file.Close() // A profile that is not whole is seen by its reader.
	}, nil
}

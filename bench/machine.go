package main

import (
	"context"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strings"
)

// machine is where a run took place. What cannot be found out is empty.
type machine struct {
	OS     string `json:"os"`
	Arch   string `json:"arch"`
	CPU    string `json:"cpu"`
	Cores  int    `json:"cores"`
	Memory string `json:"memory"`
	Load   string `json:"load_before"` // the kernel's load averages
}

func thisMachine() machine {
	load, _, _ := strings.Cut(firstLine("/proc/loadavg", ""), "/")

	return machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Cores: runtime.NumCPU(), CPU: firstLine("/proc/cpuinfo", "model name"),
		Memory: firstLine("/proc/meminfo", "MemTotal"), Load: strings.TrimSpace(load),
	}
}

// firstLine is what stands behind the colon in the first line of a file with that key.
func firstLine(path, key string) string {
	text, err := os.ReadFile(path) //nolint:gosec // It is one of /proc.
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(text)) {
		if key == "" {
			return strings.TrimSpace(line)
		}
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == key {
			return strings.TrimSpace(value)
		}
	}

	return ""
}

// revision is what was measured.
type revision struct {
	Revision string `json:"revision"`
	Dirty    bool   `json:"dirty"` // there were changes that are not committed
}

func gitRevision(ctx context.Context) revision {
	head, err := exec.CommandContext(ctx, "git", "rev-parse", "HEAD").Output()
	if err != nil {
		return revision{}
	}
	// The results themselves do not count.
	status, err := exec.CommandContext(ctx, "git", "status", "--porcelain", "--", ":/", ":(exclude,top)bench/results", ":(exclude,top)docs").Output()

	return revision{Revision: strings.TrimSpace(string(head)), Dirty: err != nil || len(status) > 0}
}

// versions are those of what takes part.
func versions(ctx context.Context, d *database, tools *limits) (map[string]string, error) {
	postgres, err := d.text(ctx, "SHOW server_version")
	if err != nil {
		return nil, err
	}
	postgres, _, _ = strings.Cut(postgres, " ") // Distributions add their own versions.
	all := map[string]string{"go": runtime.Version(), "postgresql": postgres}
	if tools.version != "" {
		all[pgbenchName] = tools.version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return all, nil
	}
	for _, module := range info.Deps {
		switch module.Path {
		case "github.com/jackc/pgx/v5", "github.com/segmentio/kafka-go", "github.com/twmb/franz-go/pkg/kfake":
			all[module.Path] = module.Version
		}
	}

	return all, nil
}

// serverSettings are those that matter for speed and durability.
func serverSettings(ctx context.Context, d *database) (map[string]string, error) {
	all := map[string]string{}
	for _, name := range []string{
		"fsync", "synchronous_commit", "full_page_writes", "wal_sync_method", "wal_compression", "shared_buffers", "max_wal_size",
		"checkpoint_timeout", "autovacuum", "commit_delay", "jit",
	} {
		value, err := d.text(ctx, "SHOW "+name)
		if err != nil {
			return nil, err
		}
		all[name] = value
	}

	return all, nil
}

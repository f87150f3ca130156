package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc, which is the same on all of Linux's usual platforms.
const tick = 10 * time.Millisecond

// machineCPU is the CPU time that anything on this machine has used.
func machineCPU() time.Duration {
	fields := strings.Fields(firstLine("/proc/stat", ""))
	const user, idle, ioWait, steal = 1, 4, 5, 8
	if len(fields) <= steal {
		return 0
	}
	var ticks int64
	for i := user; i <= steal; i++ {
		n, err := strconv.ParseInt(fields[i], 10, 64)
		if err != nil {
			return 0
		}
		if i != idle && i != ioWait {
			ticks += n
		}
	}

	return time.Duration(ticks) * tick
}

// serverCPU is the CPU time of the processes of the postmaster with that id, those that have ended
// included.
func serverCPU(postmaster string) time.Duration {
	files, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || postmaster == "" {
		return 0
	}
	var ticks int64
	for _, file := range files {
		text, err := os.ReadFile(file) //nolint:gosec // It is one of /proc.
		if err != nil {
			continue // It has ended.
		}
		// The name of the program, in parentheses, may hold anything.
		end := bytes.LastIndexByte(text, ')')
		if end < 0 {
			continue
		}
		fields := bytes.Fields(text[end+1:])
		const state, parent, user, system, childrenUser, childrenSystem = 0, 1, 11, 12, 13, 14
		if len(fields) <= childrenSystem || string(fields[state]) == "Z" {
			continue
		}
		pid, ppid := filepath.Base(filepath.Dir(file)), string(fields[parent])
		counted := []int{user, system}
		switch postmaster {
		case pid:
			counted = append(counted, childrenUser, childrenSystem)
		case ppid:
		default:
			continue
		}
		for _, field := range counted {
			n, err := strconv.ParseInt(string(fields[field]), 10, 64)
			if err != nil {
				return 0
			}
			ticks += n
		}
	}

	return time.Duration(ticks) * tick
}

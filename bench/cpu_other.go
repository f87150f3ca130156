//go:build !linux

package main

import "time"

// machineCPU is unknown.
func machineCPU() time.Duration { return 0 }

// serverCPU is unknown.
func serverCPU(string) time.Duration { return 0 }

package main

import (
	"os"

	"golang.org/x/sys/unix"
)

// datasync is what PostgreSQL calls on Linux unless it is told otherwise.
func datasync(file *os.File) error {
	return unix.Fdatasync(int(file.Fd()))
}

package pgserver

import (
	"os"
	"syscall"
)

const (
	memoryFolder = "/dev/shm" // Linux; elsewhere there is none.

	// minMemory is how much must be free there. Containers often have 64 MB, which a server
	// would soon fill.
	minMemory = 4 << 30
)

// parentFolder is where the server's folder is created: in memory if the data may be lost
// and there is room, else in the system's folder for temporary files. A TMPDIR in the
// environment is somebody's choice and obeyed.
func parentFolder(durable bool) string {
	var stat syscall.Statfs_t
	switch {
	case durable, os.Getenv("TMPDIR") != "":
		return ""
	case syscall.Statfs(memoryFolder, &stat) != nil:
		return ""
	case stat.Bavail*uint64(stat.Bsize) < minMemory: //nolint:gosec // A block size is not negative.
		return ""
	}

	return memoryFolder
}

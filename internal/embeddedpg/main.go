// Embeddedpg downloads the PostgreSQL server, unless that was done before, and prints the
// folder of its binaries.
//
// It is a module of its own so that what it needs does not become a requirement of the
// services that import the guard. Package pgserver runs it.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

func main() {
	// The server runs as another user when this is root: that user must be able to read it.
	syscall.Umask(0o022)

	bin, err := run(context.Background())
	if err != nil {
		fmt.Fprintln(os.Stderr, "embeddedpg:", err)
		os.Exit(1)
	}
	fmt.Println(bin)
}

func run(ctx context.Context) (string, error) {
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}

	return install(ctx, cache)
}

// cacheFolder is in the user's cache. That of root is closed to the user as which the server
// then runs, so root has one among the system's caches.
func cacheFolder() (string, error) {
	base := "/var/cache"
	if os.Geteuid() != 0 {
		var err error
		if base, err = os.UserCacheDir(); err != nil {
			return "", fmt.Errorf("find the cache folder: %w", err)
		}
	}

	return filepath.Join(base, "idempotent-consumer"), nil
}

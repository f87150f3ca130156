// Embeddedpg downloads the PostgreSQL server, unless that was done before, and prints the
// folder of its binaries:
//
//	go run . [14|15|16|17|18]
//
// It is a module of its own so that what it needs does not become a requirement of the
// services that import the guard. Package pgserver runs it.
package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

func main() {
	// The server runs as another user when this is root: that user must be able to read it.
	syscall.Umask(0o022)

	bin, err := run(context.Background(), os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "embeddedpg:", err)
		os.Exit(1)
	}
	fmt.Println(bin) //nolint:forbidigo // It is what the program is for.
}

func run(ctx context.Context, args []string) (string, error) {
	major := defaultMajor
	if len(args) > 0 {
		major = args[0]
	}
	version, known := versions[major]
	if !known || len(args) > 1 {
		return "", fmt.Errorf("usage: embeddedpg [%s]", strings.Join(slices.Sorted(maps.Keys(versions)), "|"))
	}
	cache, err := cacheFolder()
	if err != nil {
		return "", err
	}

	return install(ctx, cache, version, "")
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

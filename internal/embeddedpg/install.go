package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	embeddedpostgres "github.com/fergusstrange/embedded-postgres"
)

const defaultMajor = "17"

// versions are the releases that can be downloaded, by their major versions.
var versions = map[string]embeddedpostgres.PostgresVersion{
	"14": embeddedpostgres.V14,
	"15": embeddedpostgres.V15,
	"16": embeddedpostgres.V16,
	"17": embeddedpostgres.V17,
	"18": embeddedpostgres.V18,
}

// install returns the folder of the server's binaries in the cache, where it puts them if
// they are missing. Several processes may do so at once: one downloads, the others wait, and
// what is in its final place is complete. The Maven repository is the
// library's if none is named.
func install(ctx context.Context, cache string, version embeddedpostgres.PostgresVersion, repository string) (bin string, err error) {
	folder := filepath.Join(cache, "postgresql-"+strings.TrimSuffix(string(version), ".0"))
	bin = filepath.Join(folder, "bin")
	if installed(bin) {
		return bin, nil
	}

	if err := os.MkdirAll(cache, 0o755); err != nil { //nolint:gosec // The server's user reads it.
		return "", fmt.Errorf("create the cache folder: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if installed(bin) {
		return bin, nil // by the process that had the lock
	}

	staging := filepath.Join(cache, "staging")
	if err := os.RemoveAll(staging); err != nil { // Somebody was killed.
		return "", fmt.Errorf("clear the staging folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	fmt.Fprintf(os.Stderr, "downloading PostgreSQL %s to %s\n", version, folder)
	if err := download(ctx, staging, version, repository); err != nil {
		return "", err
	}
	if err := os.Rename(filepath.Join(staging, "postgresql"), folder); err != nil {
		return "", fmt.Errorf("put the binaries in place: %w", err)
	}

	return bin, nil
}

func installed(bin string) bool {
	_, err := os.Stat(filepath.Join(bin, "postgres"))

	return err == nil
}

// download puts the server into the subfolder postgresql of staging.
//
// The library has no call that only downloads; it does so on the way to starting a server.
// It is given a data folder that claims to be initialized but is empty, so that the start
// fails once the binaries are there. What tells success is that they run.
func download(ctx context.Context, staging string, version embeddedpostgres.PostgresVersion, repository string) error {
	needChecksums()
	target, data := filepath.Join(staging, "postgresql"), filepath.Join(staging, "data")
	if err := os.MkdirAll(data, 0o755); err != nil { //nolint:gosec // There is nothing in it.
		return fmt.Errorf("create the staging folder: %w", err)
	}
	major, _, _ := strings.Cut(string(version), ".")
	if err := os.WriteFile(filepath.Join(data, "PG_VERSION"), []byte(major+"\n"), 0o600); err != nil {
		return fmt.Errorf("write to the staging folder: %w", err)
	}
	port, err := freePort(ctx)
	if err != nil {
		return err
	}

	config := embeddedpostgres.DefaultConfig()
	if repository != "" {
		config = config.BinaryRepositoryURL(repository)
	}
	server := embeddedpostgres.NewDatabase(config.
		Version(version).
		CachePath(filepath.Join(staging, "archive")).
		RuntimePath(filepath.Join(staging, "runtime")).
		BinariesPath(target).
		DataPath(data).
		Port(port).
		Logger(io.Discard))
	startErr := server.Start()
	if startErr == nil {
		return errors.Join(errors.New("a server started where none was to"), server.Stop())
	}

	program := filepath.Join(target, "bin", "postgres")
	if !installed(filepath.Dir(program)) {
		return fmt.Errorf("download PostgreSQL %s: %w", version, startErr)
	}
	if output, err := exec.CommandContext(ctx, program, "--version").CombinedOutput(); err != nil {
		return fmt.Errorf("the downloaded PostgreSQL does not run here: %w\n%s", err, output)
	}

	return nil
}

// lock waits until this process is the only one that holds the lock.
func lock(path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache: %w", err), file.Close())
	}

	return file.Close, nil // The lock goes with the descriptor.
}

// freePort returns a port that the library, which insists on one, accepts.
func freePort(ctx context.Context) (uint32, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "localhost:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	port := listener.Addr().(*net.TCPAddr).Port //nolint:forcetypeassert // It listens on TCP.

	return uint32(port), listener.Close() //nolint:gosec // A port is not negative.
}

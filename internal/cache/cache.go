// Package cache keeps what was downloaded for tests and the demo in the user's cache folder.
package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

const (
	// folderMode and fileMode let servers read the cache that run as another user.
	folderMode = 0o755
	fileMode   = 0o644

	pollInterval = 50 * time.Millisecond
)

// Install returns the cache's folder of that name. If there is none it calls fill with an
// empty folder, which takes the place if fill returns nil. Several processes may do so at
// once: one fills, the others wait, and what is in its place is complete.
func Install(ctx context.Context, name string, fill func(folder string) error) (string, error) {
	base, err := base()
	if err != nil {
		return "", err
	}

	return install(ctx, filepath.Join(base, "idempotent-consumer"), name, fill)
}

// base is where the user's caches are. That of root is closed to the user as which servers
// then run, so root has one among the system's caches.
func base() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache", nil
	}
	base, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache folder: %w", err)
	}

	return base, nil
}

func install(ctx context.Context, cache, name string, fill func(folder string) error) (_ string, err error) {
	folder := filepath.Join(cache, name)
	if exists(folder) {
		return folder, nil
	}

	if err := os.MkdirAll(cache, folderMode); err != nil {
		return "", fmt.Errorf("create the cache folder: %w", err)
	}
	unlock, err := lock(ctx, filepath.Join(cache, "lock"))
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if exists(folder) {
		return folder, nil // by the process that had the lock
	}

	staging := folder + ".staging"
	if err := os.RemoveAll(staging); err != nil { // Somebody was killed.
		return "", fmt.Errorf("clear the staging folder: %w", err)
	}
	if err := os.Mkdir(staging, folderMode); err != nil {
		return "", fmt.Errorf("create the staging folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(staging)) }()
	if err := fill(staging); err != nil {
		return "", err
	}
	if err := letRead(cache, staging); err != nil {
		return "", fmt.Errorf("let others read the cache: %w", err)
	}
	if err := os.Rename(staging, folder); err != nil {
		return "", fmt.Errorf("put the download in place: %w", err)
	}

	return folder, nil
}

func exists(folder string) bool {
	_, err := os.Stat(folder)

	return err == nil
}

// letRead undoes what a strict umask has done.
func letRead(cache, staging string) (err error) {
	if err := os.Chmod(cache, folderMode); err != nil {
		return err
	}
	root, err := os.OpenRoot(staging)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, root.Close()) }()

	return fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		mode := info.Mode().Perm() | fileMode
		if mode&0o100 != 0 { // a program or a folder
			mode |= folderMode
		}

		return root.Chmod(path, mode)
	})
}

// lock waits until this process is the only one that holds the lock.
func lock(ctx context.Context, path string) (unlock func() error, err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		switch {
		case err == nil:
			return file.Close, nil // The lock goes with the descriptor.
		case !errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR):
			return nil, errors.Join(fmt.Errorf("lock the cache: %w", err), file.Close())
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, errors.Join(fmt.Errorf("wait for another process's download: %w", ctx.Err()), file.Close())
		}
	}
}

package migrate

import (
	"context"
	"database/sql"
	"io/fs"
)

// The tests stand outside the package because pgtest, which they need, imports it.

// NewWithFiles returns a Migrator for other migrations than those of the module.
func NewWithFiles(db *sql.DB, name string, files fs.FS) (*Migrator, error) {
	return newMigrator(db, name, files)
}

// ScriptsOf returns other migrations as scripts.
func ScriptsOf(files fs.FS) ([]Script, error) { return scripts(files) }

// CheckServer judges a server_version_num.
func CheckServer(number int) error { return checkServer(number) }

// Unlock gives the lock of migrations back.
func Unlock(ctx context.Context, conn *sql.Conn) error { return locker{}.SessionUnlock(ctx, conn) }

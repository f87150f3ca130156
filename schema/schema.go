// Package schema holds the tables of the guard as goose migrations, embedded, and the one
// rule by which their name space is chosen.
//
// All SQL of this module is written against the PostgreSQL schema "idem", every name
// qualified, so that it works with an empty search_path. For another schema [Qualify]
// replaces the qualifier. Package migrate applies the migrations; FS gives them to people
// who bring a migrator of their own.
//
// The tables belong to the role that migrates; services work with less. What they need is
// [Grants], and a test holds it to be enough and no more.
//
// PostgreSQL 14 is the oldest supported version: cleanup reads the heap by TID range scans
// and event_key has an SQL-standard body, both new in 14.
package schema

import (
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// DefaultName is the PostgreSQL schema that is used where none is named.
const DefaultName = "idem"

// MinServerVersion is the oldest supported PostgreSQL, in the form of server_version_num.
const MinServerVersion = 140000

// Version is the number of the latest migration. The SQL function schema_version tells that of a
// database, whoever migrated it; a test holds each migration to setting it.
const Version = 7

// ErrInvalidName is returned when a schema name is not a plain lower-case identifier.
var ErrInvalidName = errors.New("invalid schema name")

//go:embed *.sql
var migrations embed.FS

var (
	plainIdentifier = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)
	qualifier       = regexp.MustCompile(`\bidem\.`)
)

// Validate returns an error that wraps ErrInvalidName unless name is a lower-case
// PostgreSQL identifier that needs no quotes: letters, digits and underscores, at most
// 63 bytes, not starting with a digit nor with "pg_".
func Validate(name string) error {
	if !plainIdentifier.MatchString(name) || strings.HasPrefix(name, "pg_") {
		return fmt.Errorf("%w %q: use lower-case letters, digits and underscores, at most 63, starting neither with a digit nor with pg_", ErrInvalidName, name)
	}

	return nil
}

// Qualify returns sql, which must be SQL of this module, with the schema idem replaced by
// name. The name must have passed Validate; it is put in quotes, so that it may be a
// reserved word.
func Qualify(sql, name string) string {
	if name == DefaultName {
		return sql
	}

	return qualifier.ReplaceAllLiteralString(sql, quote(name)+".")
}

// FS returns the migrations, one file each, for the schema name.
func FS(name string) (fs.FS, error) {
	if err := Validate(name); err != nil {
		return nil, err
	}
	if name == DefaultName {
		return migrations, nil
	}

	return qualifiedFS{name}, nil
}

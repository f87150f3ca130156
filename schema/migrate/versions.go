package migrate

import (
	"github.com/jackc/pgx/v5"
)

// versions is the SQL by which goose reads and writes the version table of a schema. It is goose's own
// for PostgreSQL, but names the schema of everything, so that it means the same under every search_path, and
// numbers no rows: a sequence is behind after a switchover by logical replication.
type versions struct{ name string }

func (v versions) CreateTable(string) string {
	return "CREATE TABLE " + v.table() + ` (
		version_id bigint PRIMARY KEY,
		is_applied boolean NOT NULL,
		tstamp timestamp NOT NULL DEFAULT pg_catalog.now()
	)`
}

func (v versions) InsertVersion(string) string {
	return "INSERT INTO " + v.table() + " (version_id, is_applied) VALUES ($1, $2)"
}

func (v versions) DeleteVersion(string) string {
	return "DELETE FROM " + v.table() + " WHERE version_id OPERATOR(pg_catalog.=) $1"
}

func (v versions) GetMigrationByVersion(string) string {
	return "SELECT tstamp, is_applied FROM " + v.table() + " WHERE version_id OPERATOR(pg_catalog.=) $1"
}

func (v versions) ListMigrations(string) string {
	return "SELECT version_id, is_applied FROM " + v.table() + " ORDER BY version_id DESC"
}

func (v versions) GetLatestVersion(string) string {
	return "SELECT pg_catalog.max(version_id) FROM " + v.table()
}

func (v versions) TableExists(string) string {
	return "SELECT pg_catalog.to_regclass('" + v.table() + "') IS NOT NULL"
}

// table is the name of the version table. The schema's has passed schema.Validate.
func (v versions) table() string { return pgx.Identifier{v.name, versionTable}.Sanitize() }

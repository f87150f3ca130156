package idem_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/schema"
	"github.com/nova-events/idempotent-consumer/schema/migrate"
)

// On the tables of an older release a service used to start, and to die at the first statement that
// they lack something for.
func TestServiceRefusesOlderTables(t *testing.T) {
	t.Parallel()
	scripts, err := migrate.Scripts(schema.DefaultName)
	if err != nil {
		t.Fatal(err)
	}
	pool := pgtest.NewEmptyDB(t).Pool(t)
	exec := func(sql string) {
		t.Helper()
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec("CREATE SCHEMA idem")
	for _, script := range scripts[:schema.Version-1] {
		exec(script.Up)
	}
	guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
	err = guard.Register(t.Context())
	if !errors.Is(err, idem.ErrSchemaVersion) || idem.IsTransient(err) ||
		!strings.Contains(err.Error(), fmt.Sprintf(`the schema "idem" is at version %d, this release needs %d`, schema.Version-1, schema.Version)) || !strings.Contains(err.Error(), "idemctl migrate up --schema idem") {
		t.Errorf("Register: %v", err)
	}

	exec(scripts[schema.Version-1].Up)
	if err := guard.Register(t.Context()); err != nil {
		t.Errorf("once migrated: %v", err)
	}

	// A newer release has migrated already.
	exec("CREATE OR REPLACE FUNCTION idem.schema_version() RETURNS integer LANGUAGE sql RETURN 99")
	if err := newGuard(t, pool, idem.Config{Consumer: "bills"}).Register(t.Context()); err != nil {
		t.Errorf("newer tables: %v", err)
	}
}

package pgtest

import (
	"context"

	"github.com/jackc/pgx/v5/pgxpool"
)

// Example returns a pool of connections to a fresh database with the migrated tables, for
// examples, which have no testing.T. SQL makes more of it, such as a service's own tables.
// The caller calls drop at the end. It panics if there is no server.
func Example(sql string) (pool *pgxpool.Pool, drop func()) {
	ctx := context.Background()
	c, err := openCluster()
	check(err)
	template, err := c.template()
	check(err)
	name, err := c.create(ctx, template)
	check(err)
	dsn, err := withDatabase(c.dsn, name)
	check(err)
	pool, err = pgxpool.New(ctx, dsn)
	check(err)
	_, err = pool.Exec(ctx, sql)
	check(err)

	return pool, func() {
		pool.Close()
		check(c.drop(ctx, name))
	}
}

// check ends an example, which has no other way to fail.
func check(err error) {
	if err != nil {
		panic(err)
	}
}

package ormtest_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"

	"entgo.io/ent/dialect"
	entsql "entgo.io/ent/dialect/sql"
	"github.com/jmoiron/sqlx"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"
	"gorm.io/driver/postgres"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"

	"github.com/nova-events/idempotent-consumer/idemsql/ormtest/ent"
)

// library is how services write to the database.
type library interface {
	// insert writes an effect through the library, in a transaction of the guard's.
	insert(ctx context.Context, tx *sql.Tx, eventID string) error
	// transact runs fn in a transaction that the library begins and ends, and tells fn its *sql.Tx.
	transact(ctx context.Context, fn func(tx *sql.Tx) error) error
}

type opener struct {
	driver  string // of database/sql
	library func(t *testing.T, db *sql.DB) library
}

var libraries = map[string]opener{
	"pgx":           {"pgx", func(_ *testing.T, db *sql.DB) library { return plain{db} }},
	"pq":            {"postgres", func(_ *testing.T, db *sql.DB) library { return plain{db} }},
	"pgdriver":      {"pg", func(_ *testing.T, db *sql.DB) library { return plain{db} }},
	"GORM":          {"pgx", func(t *testing.T, db *sql.DB) library { return openGORM(t, db, false) }},
	"GORM prepared": {"pgx", func(t *testing.T, db *sql.DB) library { return openGORM(t, db, true) }},
	"bun":           {"pgx", func(_ *testing.T, db *sql.DB) library { return bunLibrary{bun.NewDB(db, pgdialect.New())} }},
	"bun pgdriver":  {"pg", func(_ *testing.T, db *sql.DB) library { return bunLibrary{bun.NewDB(db, pgdialect.New())} }},
	"ent":           {"pgx", func(_ *testing.T, db *sql.DB) library { return entLibrary{entsql.OpenDB(dialect.Postgres, db)} }},
	"ent pq":        {"postgres", func(_ *testing.T, db *sql.DB) library { return entLibrary{entsql.OpenDB(dialect.Postgres, db)} }},
	"sqlx":          {"pgx", func(_ *testing.T, db *sql.DB) library { return sqlxLibrary{sqlx.NewDb(db, "postgres")} }},
	"sqlx pq":       {"postgres", func(_ *testing.T, db *sql.DB) library { return sqlxLibrary{sqlx.NewDb(db, "postgres")} }},
}

type plain struct{ db *sql.DB }

func (plain) insert(ctx context.Context, tx *sql.Tx, eventID string) error {
	_, err := tx.ExecContext(ctx, `INSERT INTO public.effects VALUES ($1)`, eventID)

	return err
}

func (p plain) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := p.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // Of what is not committed.
	if err := fn(tx); err != nil {
		return err
	}

	return tx.Commit()
}

// effect is a row of the table as GORM and bun map it.
type effect struct {
	bun.BaseModel `bun:"table:effects" gorm:"-"`

	EventID string
}

type gormLibrary struct{ db *gorm.DB }

func openGORM(t *testing.T, db *sql.DB, prepares bool) gormLibrary {
	t.Helper()
	opened, err := gorm.Open(postgres.New(postgres.Config{Conn: db}), &gorm.Config{PrepareStmt: prepares, Logger: logger.Discard})
	if err != nil {
		t.Fatal(err)
	}

	return gormLibrary{opened}
}

// within returns a GORM whose statements are those of a transaction.
func (g gormLibrary) within(ctx context.Context, tx *sql.Tx) *gorm.DB {
	session := g.db.Session(&gorm.Session{NewDB: true, Context: ctx})
	session.Statement.ConnPool = tx

	return session
}

func (g gormLibrary) insert(ctx context.Context, tx *sql.Tx, eventID string) error {
	return g.within(ctx, tx).Create(&effect{EventID: eventID}).Error
}

func (g gormLibrary) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return g.db.WithContext(ctx).Transaction(func(tx *gorm.DB) error {
		pool := tx.Statement.ConnPool
		if prepared, ok := pool.(*gorm.PreparedStmtTX); ok {
			pool = prepared.Tx
		}
		sqlTx, ok := pool.(*sql.Tx)
		if !ok {
			return fmt.Errorf("GORM's transaction is a %T", pool)
		}

		return fn(sqlTx)
	})
}

type bunLibrary struct{ db *bun.DB }

func (b bunLibrary) insert(ctx context.Context, tx *sql.Tx, eventID string) error {
	_, err := b.db.NewInsert().Conn(tx).Model(&effect{EventID: eventID}).Exec(ctx)

	return err
}

func (b bunLibrary) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	return b.db.RunInTx(ctx, nil, func(_ context.Context, tx bun.Tx) error { return fn(tx.Tx) })
}

// entLibrary is a client that ent has generated.
type entLibrary struct{ driver *entsql.Driver }

// entDriver has ent execute its statements in a transaction that somebody else ends. ent begins one of its own for some of them.
type entDriver struct{ dialect.Driver }

func (d entDriver) Tx(context.Context) (dialect.Tx, error) { return dialect.NopTx(d), nil } //nolint:ireturn // ent wants it.

// within returns ent's transaction that is tx. Tx of its client is an error.
func (entLibrary) within(ctx context.Context, tx *sql.Tx) (*ent.Tx, error) {
	driver := entDriver{entsql.NewDriver(dialect.Postgres, entsql.Conn{ExecQuerier: tx})}

	return ent.NewClient(ent.Driver(driver)).Tx(ctx)
}

func (e entLibrary) insert(ctx context.Context, tx *sql.Tx, eventID string) error {
	within, err := e.within(ctx, tx)
	if err != nil {
		return err
	}

	return within.Effect.Create().SetID(eventID).Exec(ctx)
}

func (e entLibrary) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := e.driver.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // Of what is not committed.
	entTx, ok := tx.(*entsql.Tx)
	if !ok {
		return fmt.Errorf("ent's transaction is a %T", tx)
	}
	sqlTx, ok := entTx.ExecQuerier.(*sql.Tx)
	if !ok {
		return fmt.Errorf("ent's transaction has a %T", entTx.ExecQuerier)
	}
	if err := fn(sqlTx); err != nil {
		return err
	}

	return tx.Commit()
}

type sqlxLibrary struct{ db *sqlx.DB }

func (s sqlxLibrary) insert(ctx context.Context, tx *sql.Tx, eventID string) error {
	query, args, err := s.db.BindNamed(`INSERT INTO public.effects (event_id) VALUES (:eventid)`, effect{EventID: eventID})
	if err != nil {
		return err
	}
	_, err = (&sqlx.Tx{Tx: tx, Mapper: s.db.Mapper}).ExecContext(ctx, query, args...)

	return err
}

func (s sqlxLibrary) transact(ctx context.Context, fn func(tx *sql.Tx) error) error {
	tx, err := s.db.BeginTxx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback() //nolint:errcheck // Of what is not committed.
	if err := fn(tx.Tx); err != nil {
		return err
	}

	return tx.Commit()
}

package idem

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

func TestEndsTransaction(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"COMMIT": true, " commit ; ": true, "END": true, "Abort work": true, "ROLLBACK": true, "rollback work": true, "ROLLBACK TRANSACTION;": true,
		"COMMIT AND CHAIN": true, "ROLLBACK AND CHAIN": true, "ROLLBACK PREPARED 'x'": true, "PREPARE TRANSACTION 'x'": true,
		"-- no\nCOMMIT": true, "/* /* nested */ */COMMIT": true, ";;COMMIT": true, "SELECT 1; COMMIT": true, "SELECT ';'; ROLLBACK": true,
		"SELECT $$;$$; END": true, `SELECT E'\'; '; END`: true, "ROLLBACK\t-- work\n": true, "ROLLBACK; SELECT 1": true,
		"-- no\rCOMMIT": true, "SELECT E'a'\n'\\''; COMMIT": true, "SELECT E'a''\\''; COMMIT": true, "SELECT E'a'\t-- b\r\n-- c\n '\\''; COMMIT": true,
		"": false, "SELECT 1": false, "ROLLBACK TO a": false, "ROLLBACK TO SAVEPOINT a": false, "rollback work to savepoint a": false, "ROLLBACK TRANSACTION TO a": false,
		"SAVEPOINT commit": false, "RELEASE a": false, "SELECT 'x; COMMIT'": false, "DO $$ BEGIN PERFORM 1; END $$": false, "DO $a$ BEGIN; COMMIT; $a$": false, "DO $a$BEGIN; COMMIT; END$a$": false, "SELECT $1; COMMIT": true,
		"-- COMMIT": false, "/* ; COMMIT */ SELECT 1": false, `SELECT "; COMMIT"`: false, "PREPARE a AS SELECT 1": false, "committed": false,
		"INSERT INTO commit VALUES ('it''s; COMMIT')": false, "BEGIN": false, "SELECT $1; SELECT 2": false, "UPDATE t SET a = 'end; '": false, "(SELECT 1)": false,
		"SELECT E'a'\n'\\'; COMMIT'": false, "SELECT E'a''\\'; COMMIT'": false, "SELECT 'a' -- '; COMMIT": false,
	} {
		if got := endsTransaction(sql); got != want {
			t.Errorf("%q: %t, want %t", sql, got, want)
		}
	}
}

// FuzzEndsTransaction asks PostgreSQL: what ends the transaction of a handler there is seen before it is sent, and what it
// executes without ending it is not refused.
func FuzzEndsTransaction(f *testing.F) {
	for _, sql := range []string{
		"COMMIT", "/*", "$a$", `E'\`, "'", "--", "ROLLBACK TO", ";", "SELECT 1; COMMIT", "COMMIT AND CHAIN", "COMMIT; BEGIN", "COMMIT; BEGIN; SELECT x", "ROLLBACK TO SAVEPOINT a", "PREPARE TRANSACTION 'x'",
		"SELECT 1; -- x\rCOMMIT", "SELECT E'a'\n'\\''; COMMIT", "SELECT E'a' -- x\r'\\''; COMMIT", "SELECT U&'\\0041'; END", "SELECT 1 AS a$b$; ABORT; --$b$", "SAVEPOINT b; RELEASE b", "DO $$BEGIN COMMIT; END$$",
	} {
		f.Add(sql)
	}
	pool := pgtest.NewDB(f).Pool(f, pgtest.MaxConns(2), func(c *pgxpool.Config) { c.ConnConfig.RuntimeParams["statement_timeout"] = "1s" })
	f.Fuzz(func(t *testing.T, sql string) {
		said := endsTransaction(sql)
		if strings.ContainsRune(sql, 0) || strings.Contains(strings.ToUpper(sql), "COPY") {
			return // The one cannot be sent, the other has the server wait for rows.
		}
		ended, executed := endsOnServer(t, pool, sql)
		if ended && !said {
			t.Errorf("%q ends the transaction, and is sent", sql)
		}
		if executed && !ended && said && !aliasesEnd.MatchString(sql) {
			t.Errorf("%q is refused, and does not end the transaction", sql)
		}
	})
}

// aliasesEnd has what is refused for the name it gives or takes, or for the body of a function.
var aliasesEnd = regexp.MustCompile(`(?is)prepare\s*transaction|begin\s*atomic`)

// endsOnServer executes sql in a transaction, and reports whether that one is over, and whether all of sql was executed.
func endsOnServer(t *testing.T, pool *pgxpool.Pool, sql string) (ended, executed bool) {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	const id = `SELECT pg_catalog.pg_current_xact_id()::text`
	server := conn.Conn().PgConn()
	before, err := server.Exec(ctx, "BEGIN; SAVEPOINT a; "+id).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	results, err := server.Exec(ctx, sql).ReadAll()
	forget := slices.ContainsFunc(results, func(r *pgconn.Result) bool { return r.CommandTag.String() == "PREPARE TRANSACTION" })
	switch server.TxStatus() {
	case 'I':
		ended = true
	case 'T':
		after, failed := server.Exec(ctx, id).ReadAll()
		ended = failed == nil && string(after[0].Rows[0][0]) != string(before[2].Rows[0][0])
	default: // It failed; one that was committed may be over, and another failed.
		ended = slices.ContainsFunc(results, func(r *pgconn.Result) bool { return r.CommandTag.String() == "COMMIT" })
	}
	for _, leave := range []string{"ROLLBACK", "DISCARD ALL"} {
		if _, err := server.Exec(ctx, leave).ReadAll(); err != nil {
			t.Logf("%q: %v", sql, err)
			_ = conn.Conn().Close(ctx)
		}
	}
	if forget {
		forgetPrepared(ctx, t, server)
	}

	return ended, err == nil
}

// forgetPrepared rolls back what is prepared, so that the database can be dropped.
func forgetPrepared(ctx context.Context, t *testing.T, server *pgconn.PgConn) {
	t.Helper()
	all, err := server.Exec(ctx, `SELECT pg_catalog.format('ROLLBACK PREPARED %L', gid) FROM pg_catalog.pg_prepared_xacts WHERE database OPERATOR(pg_catalog.=) pg_catalog.current_database()`).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range all[0].Rows {
		if _, err := server.Exec(ctx, string(row[0])).ReadAll(); err != nil {
			t.Fatal(err)
		}
	}
}

func BenchmarkEndsTransaction(b *testing.B) {
	for b.Loop() {
		endsTransaction("INSERT INTO ledger (event_id, account, cents) VALUES ($1, $2, $3)")
	}
}

package idem

import "testing"

func TestEndsTransaction(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]bool{
		"COMMIT": true, " commit ; ": true, "END": true, "Abort work": true, "ROLLBACK": true, "rollback work": true, "ROLLBACK TRANSACTION;": true,
		"COMMIT AND CHAIN": true, "ROLLBACK AND CHAIN": true, "ROLLBACK PREPARED 'x'": true, "PREPARE TRANSACTION 'x'": true,
		"-- no\nCOMMIT": true, "/* /* nested */ */COMMIT": true, ";;COMMIT": true, "SELECT 1; COMMIT": true, "SELECT ';'; ROLLBACK": true,
		"SELECT $$;$$; END": true, `SELECT E'\'; '; END`: true, "ROLLBACK\t-- work\n": true, "ROLLBACK; SELECT 1": true,
		"": false, "SELECT 1": false, "ROLLBACK TO a": false, "ROLLBACK TO SAVEPOINT a": false, "rollback work to savepoint a": false, "ROLLBACK TRANSACTION TO a": false,
		"SAVEPOINT commit": false, "RELEASE a": false, "SELECT 'x; COMMIT'": false, "DO $$ BEGIN PERFORM 1; END $$": false, "DO $a$ BEGIN; COMMIT; $a$": false, "DO $a$BEGIN; COMMIT; END$a$": false, "SELECT $1; COMMIT": true,
		"-- COMMIT": false, "/* ; COMMIT */ SELECT 1": false, `SELECT "; COMMIT"`: false, "PREPARE a AS SELECT 1": false, "committed": false,
		"INSERT INTO commit VALUES ('it''s; COMMIT')": false, "BEGIN": false, "SELECT $1; SELECT 2": false, "UPDATE t SET a = 'end; '": false, "(SELECT 1)": false,
	} {
		if got := endsTransaction(sql); got != want {
			t.Errorf("%q: %t, want %t", sql, got, want)
		}
	}
}

// Whatever the text is, looking at it ends.
func FuzzEndsTransaction(f *testing.F) {
	for _, sql := range []string{"COMMIT", "/*", "$a$", `E'\`, "'", "--", "ROLLBACK TO", ";"} {
		f.Add(sql)
	}
	f.Fuzz(func(_ *testing.T, sql string) { endsTransaction(sql) })
}

func BenchmarkEndsTransaction(b *testing.B) {
	for b.Loop() {
		endsTransaction("INSERT INTO ledger (event_id, account, cents) VALUES ($1, $2, $3)")
	}
}

package main

import (
	"strings"
	"testing"
)

func TestQualify(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		`SELECT unnest($1::text[])`:                          `SELECT pg_catalog.unnest($1::pg_catalog.text[])`,
		`SELECT idem.consumer_id(name) FROM idem.consumers`:  `SELECT idem.consumer_id(name) FROM idem.consumers`,
		`SELECT now() - interval '1 day' < x FROM idem.t`:    `SELECT (pg_catalog.now() OPERATOR(pg_catalog.-) '1 day'::interval) OPERATOR(pg_catalog.<) x FROM idem.t`,
		`SELECT a = b + c * 2 FROM idem.t`:                   `SELECT a OPERATOR(pg_catalog.=) (b OPERATOR(pg_catalog.+) (c OPERATOR(pg_catalog.*) 2)) FROM idem.t`,
		`SELECT a IN ('x', 'y'), b NOT IN (1) FROM idem.t`:   `SELECT a OPERATOR(pg_catalog.=) ANY(ARRAY['x', 'y']), b OPERATOR(pg_catalog.<>) ALL(ARRAY[1]) FROM idem.t`,
		`SELECT a IN (SELECT 1) FROM idem.t`:                 `SELECT a OPERATOR(pg_catalog.=) ANY (SELECT 1) FROM idem.t`,
		`SELECT nullif(a, '') FROM idem.t`:                   `SELECT CASE WHEN a OPERATOR(pg_catalog.=) '' THEN NULL ELSE a END FROM idem.t`,
		`SELECT -a, a COLLATE "C" FROM idem.t`:               `SELECT OPERATOR(pg_catalog.-) a, a COLLATE pg_catalog."C" FROM idem.t`,
		`WITH x AS (SELECT 1) SELECT count(*) FROM x`:        `WITH x AS (SELECT 1) SELECT pg_catalog.count(*) FROM x`,
		`SELECT a FROM idem.t x FOR UPDATE OF x SKIP LOCKED`: `SELECT a FROM idem.t x FOR UPDATE OF x SKIP LOCKED`,
		`SELECT * FROM t`:                                    ``,
		`SELECT a LIKE 'x' FROM idem.t`:                      ``,
		`SELECT a BETWEEN 1 AND 2 FROM idem.t`:               ``,
		`SELECT a IS DISTINCT FROM b FROM idem.t`:            ``,
		`SELECT CASE a WHEN 1 THEN 2 END FROM idem.t`:        ``,
		`SELECT a FROM idem.t JOIN idem.u USING (a)`:         ``,
	} {
		got, err := qualify(sql)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s\n got %s, %v\nwant %s", sql, got, err, want)
		}
	}
}

func TestGeneratedKeepsAllButTheSQL(t *testing.T) {
	t.Parallel()
	code := "package db\n\nconst eventGet = `-- name: EventGet :one\nSELECT now()\n`\n\n// A comment.\nfunc f() {}\n"
	got, err := generated([]byte(code))
	if want := strings.Replace(code, "now()", "pg_catalog.now()", 1); err != nil || string(got) != want {
		t.Errorf("%s, %v", got, err)
	}
	if again, err := generated(got); err != nil || string(again) != string(got) {
		t.Errorf("a second time: %s, %v", again, err)
	}
	if _, err := generated([]byte(strings.Replace(code, "now()", "a FROM b", 1))); err == nil || !strings.Contains(err.Error(), "EventGet") {
		t.Errorf("the error is %v, want one that names the query", err)
	}
}

package cli

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// How a database writes intervals and times by default changes nothing.
func TestStylesOfTheDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, "ALTER DATABASE "+pgx.Identifier{b.db.Name}.Sanitize()+" SET intervalstyle = iso_8601")
	b.exec(t, "ALTER DATABASE "+pgx.Identifier{b.db.Name}.Sanitize()+" SET datestyle = German")
	b.register(t, "orders", "36h30s")
	b.ok(t, "mark", "e", "-c", "orders")
	url := b.env["IDEM_DATABASE_URL"]
	want := b.ok(t, "consumer", "list", "--json")
	for _, mode := range []string{"exec", "simple_protocol", "cache_describe"} {
		b.env["IDEM_DATABASE_URL"] = url + "&default_query_exec_mode=" + mode
		if got := b.ok(t, "consumer", "list", "--json"); got != want || !strings.Contains(got, "129630") {
			t.Errorf("%s: %s, want %s", mode, got, want)
		}
		for _, args := range [][]string{{"status"}, {"show", "e"}, {"checkpoint", "list"}, {"dlq", "list"}, {"migrate", "status"}, {"status", "--exact", "--json"}} {
			b.ok(t, args...)
		}
	}
}

package cli

import (
	"strings"
	"testing"
)

func TestUnverifiedConnectionWarns(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://me:zebra@db.invalid/x?sslmode=disable":     "encryption is not required",
		"postgres://me:zebra@db.invalid/x?sslmode=require":     "certificate is not verified",
		"postgres://me:zebra@db.invalid/x?sslmode=verify-full": "",
	} {
		b := &bundle{env: map[string]string{"DATABASE_URL": dsn}}
		for _, args := range [][]string{{"status"}, {"migrate", "status"}} {
			r := b.run(t, append(args, "--timeout", "5s")...)
			if r.status == 0 || strings.Contains(r.stderr, "warning:") != (want != "") || !strings.Contains(r.stderr, want) {
				t.Errorf("%s, %v: exit status %d, stderr %q, want %q", dsn, args, r.status, r.stderr, want)
			}
			if strings.Contains(r.stderr, "zebra") {
				t.Errorf("%v: stderr has the password", args)
			}
		}
	}
}

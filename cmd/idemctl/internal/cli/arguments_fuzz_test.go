package cli

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// FuzzArguments runs the program with any arguments, a word a line, for the role of a service: no panic, an exit status
// that the help documents, and nothing that a terminal would obey.
func FuzzArguments(f *testing.F) {
	for _, line := range []string{
		"", "status", "status\n--json", "mark\na\n-c\norders", "show\na\x00b\n-c\norders", "forget\n\xff\n-c\norders\n--yes", "explain\n'; --", "cleanup\n-c\norders\n--older-than\n-1s",
		"deadletter\nlist\n--error\n%", "deadletter\nlist\n--since\n9999-12-31", "deadletter\nreplay\n--all\n--yes", "checkpoint\nreset\norders\n--topic\nt\n--partition\n-1",
		"consumer\nregister\n\x1b[2J\n--retention\n7d", "lease\nlist", "outbox\nlist\n--topic\n..", "migrate\nprint\n--grants\n\"x", "status\n--schema\n\"; --", "status\n--timeout\n1ns", "--database-url", "help\nx",
	} {
		f.Add(line)
	}
	dsn := pgtest.NewDB(f).Service
	f.Fuzz(func(t *testing.T, line string) {
		args := strings.Split(line, "\n")
		if slices.ContainsFunc(args, func(word string) bool {
			return word == "console" || strings.HasPrefix(word, "/") || strings.HasPrefix(word, "--database-url")
		}) {
			return // It serves, or goes elsewhere.
		}
		b := &bundle{env: map[string]string{"IDEM_DATABASE_URL": dsn}}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		r := b.runWith(ctx, strings.NewReader(""), args...)
		if r.status < 0 || r.status > exitProblem && r.status != exitInterrupted || r.status == exitInterrupted && ctx.Err() == nil {
			t.Errorf("%q: status %d\n%s", args, r.status, r.stderr)
		}
		if strings.ContainsAny(r.stderr, "\x00\x1b\a") {
			t.Errorf("%q: a control character for the terminal: %q", args, r.stderr)
		}
	})
}

// FuzzPassword has a connection fail, with a password of any characters in an address of each form: no output shows what
// stands in its middle.
func FuzzPassword(f *testing.F) {
	for _, part := range []string{"", "a", "@", "/", "?", "#", ":", "%", " ", "'", `\`, "\n", "\x00", "é", "=", "&x=", " host=", "@[::1]/", "' x='"} {
		f.Add(part, part, "status")
	}
	f.Fuzz(func(t *testing.T, before, behind, command string) {
		const secret = "zebraquagga"
		if strings.Contains(command, "zebra") || strings.HasPrefix(command, "console") {
			return
		}
		password := before + secret + behind
		quoted := strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(password)
		for _, dsn := range []string{
			fmt.Sprintf("postgres://u:%s@127.0.0.1:1/db", password),
			fmt.Sprintf("postgres://u:%s@127.0.0.1:1/db", url.QueryEscape(password)),
			"postgres://127.0.0.1:1/db?user=u&password=" + url.QueryEscape(password),
			"host=127.0.0.1 port=1 user=u password=" + password,
			fmt.Sprintf("host=127.0.0.1 port=1 user=u password='%s'", quoted),
		} {
			b := &bundle{env: map[string]string{"DATABASE_URL": dsn}}
			r := b.run(t, append(strings.Split(command, "\n"), "--timeout", "1s")...)
			if strings.Contains(r.stdout+r.stderr, secret) {
				t.Errorf("%q: %s: status %d\n%s%s", dsn, command, r.status, r.stdout, r.stderr)
			}
		}
	})
}

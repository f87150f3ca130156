package cli

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// No part of a password may be printed, however wrong the connection string is. The parts are
// words that nothing else holds.
func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	for _, dsn := range []string{
		"postgres://me:zebra@127.0.0.1:1/db",
		"postgres://me:zebra@nohost.invalid/db",
		"postgres://me:ze@bra@127.0.0.1:1/db",
		"postgres://me:zebra@quagga@nohost.invalid/db",
		"postgres://me:12/zebra@127.0.0.1:1/db",
		"postgres://127.0.0.1:1/zebra@quagga",
		"postgres://me:zebra/quagga@127.0.0.1:1/db",
		"postgres://me:zebra?quagga@127.0.0.1:1/db",
		"postgres://me:zebra#quagga@127.0.0.1:1/db",
		"postgres://me:ze%zzbra@127.0.0.1:1/db",
		"postgres://me:zebra@[::1/db",
		"postgres://me:zebra@127.0.0.1:port/db",
		"postgres://127.0.0.1:1/db?user=me&password=zebra",
		"postgres://127.0.0.1:1/db?user=me&password=zebra&connect_timeout=x",
		"postgres://me:zebra@127.0.0.1:1/db?sslmode=quite",
		"postgres://me:zebra@127.0.0.1:1/db?pool_max_conns=x",
		"postgresql://me:zebra@127.0.0.1:1/db?target_session_attrs=x",
		"mysql://me:zebra@127.0.0.1:1/db",
		"mysql://me:zebra@127.0.0.1:1/db?x=y",
		"me:zebra@127.0.0.1:1/db",
		"host=127.0.0.1 port=1 user=me password=zebra dbname=db",
		"host=127.0.0.1 port=1 user=me password='zebra dbname=db",
		"host=127.0.0.1 port=1 user=me password=my zebra dbname=db",
		"host=127.0.0.1 port=1 user=me password = zebra quagga=x dbname",
		"host=127.0.0.1 port=x user=me password=zebra dbname=db",
		"host=127.0.0.1 port=1 user=me password=zebra sslmode=quite",
		"host=127.0.0.1 port=1 user=me password=zebra service=none",
		"password=zebra host=127.0.0.1 port=1",
		"host=127.0.0.1;password=zebra",
		"host=nohost.invalid;port=1;password=zebra;user=me",
		"Host=127.0.0.1;Username=me;Password=zebra;Database=db",
		"host=127.0.0.1 port=1 user=me;password=zebra",
		"host=127.0.0.1 port=1 user=me dbname=db;pwd=zebra",
		"host=127.0.0.1 port=1 dbname=db,password=zebra",
		"host=127.0.0.1 port=1 application_name=x;password=zebra",
		"host=127.0.0.1,nohost.invalid;password=zebra port=1",
		"postgres://me@nohost.invalid;password=zebra/db",
		"postgres://me@127.0.0.1:1/db;password=zebra",
		"jdbc:postgresql://127.0.0.1:1/db?user=me&password=zebra",
		"zebra",
	} {
		b := &bundle{env: map[string]string{"DATABASE_URL": dsn}}
		for _, args := range [][]string{{"status"}, {"migrate", "up"}, {"mark", "1", "-c", "c", "--json"}} {
			r := b.run(t, append(args, "--timeout", "1s")...)
			if r.status != exitFailure && r.status != exitUsage {
				t.Errorf("%s: status %d", dsn, r.status)
			}
			for _, part := range []string{"zebra", "quagga", "bra@", "ze@", "ze%"} {
				if strings.Contains(r.stdout+r.stderr, part) {
					t.Errorf("%s: %q is printed:\n%s%s", dsn, part, r.stdout, r.stderr)
				}
			}
			if !strings.Contains(r.stderr, "$DATABASE_URL") {
				t.Errorf("%s: the message does not say where the address comes from: %s", dsn, r.stderr)
			}
		}
	}
}

// The server itself repeats what it does not understand.
func TestPasswordsAreNotRepeatedByTheServer(t *testing.T) {
	t.Parallel()
	db := pgtest.NewEmptyDB(t)
	config, err := pgconn.ParseConfig(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	dsn := fmt.Sprintf("host=%s port=%d user=%s dbname=%s sslmode=disable password='%s' zebra=x", config.Host, config.Port, config.User, db.Name, config.Password)
	r := (&bundle{}).run(t, "status", "--database-url", dsn)
	r.want(t, exitFailure, "cannot connect", "--database-url")
	if strings.Contains(r.stderr, "zebra") {
		t.Error(r.stderr)
	}

	// A wrong password is the server's to judge, and nobody's to show.
	parsed, err := url.Parse(db.DSN)
	if err != nil {
		t.Fatal(err)
	}
	parsed.User = url.UserPassword(config.User, "zebra")
	r = (&bundle{}).run(t, "status", "--database-url", parsed.String(), "--json")
	if r.status == 0 || strings.Contains(r.stderr+r.stdout, "zebra") {
		t.Errorf("%+v", r)
	}
}

// A connection can also be refused after others were made.
func TestLateConnectionErrorsAreRedacted(t *testing.T) {
	t.Parallel()
	_, err := pgconn.Connect(t.Context(), "postgres://me:ze@bra@127.0.0.1:1/db")
	_, parseErr := pgconn.ParseConfig("postgres://me:zebra@127.0.0.1:port/db")
	if err == nil || parseErr == nil {
		t.Fatal(err, parseErr)
	}
	var stderr strings.Builder
	a := &app{Program: Program{Stderr: &stderr}, target: target{dsn: "postgres://me:ze@bra@127.0.0.1:1/db"}}
	a.logger().WarnContext(context.Background(), "late", "error", fmt.Errorf("late: %w", err))
	texts := a.errorText(fmt.Errorf("late: %w", err)) + a.errorText(fmt.Errorf("late: %w", parseErr)) + stderr.String()
	if strings.Contains(texts, "bra") || !strings.Contains(stderr.String(), "cannot connect") {
		t.Error(texts)
	}
}

// Each command, as its help shows it, tells that it does not get in, and no password.
func TestNoCommandTellsAPassword(t *testing.T) {
	t.Parallel()
	db := pgtest.NewDB(t)
	wrong, err := url.Parse(db.Service)
	if err != nil {
		t.Fatal(err)
	}
	wrong.User = url.UserPassword(wrong.User.Username(), "zebra")
	b := &bundle{env: map[string]string{"IDEM_BROKERS": fmt.Sprintf("kafka://me:%s@127.0.0.1:1", "zebra")}}
	var visit func(*cobra.Command)
	visit = func(command *cobra.Command) {
		for _, child := range command.Commands() {
			visit(child)
		}
		if command.HasSubCommands() || strings.Contains(command.CommandPath(), " completion ") || slices.Contains([]string{"version", "man", "print", "help"}, command.Name()) {
			return // It connects to nothing.
		}
		args := append(exampleOf(command), "--timeout", "20s")
		if command.Flags().Lookup("yes") != nil {
			args = append(args, "--yes")
		}
		for _, dsn := range []string{wrong.String(), "postgres://me:zebra@127.0.0.1:1/db"} {
			b.env["IDEM_DATABASE_URL"] = dsn
			r := b.run(t, args...)
			if r.status != exitFailure || !strings.Contains(r.stderr, "cannot connect") {
				t.Errorf("%v: %+v", args, r)
			}
			if strings.Contains(r.stdout+r.stderr, "zebra") {
				t.Errorf("%v: the password is told: %+v", args, r)
			}
		}
	}
	visit(newRoot(&app{}))
}

var quotedWords = regexp.MustCompile(`"[^"]*"|'[^']*'`)

// exampleOf are the words of the first line of a command's examples that calls it, or its name with an argument for each that it
// needs.
func exampleOf(command *cobra.Command) []string {
	for line := range strings.Lines(command.Example) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "   ")
		line, _, _ = strings.Cut(line, " | ")
		if strings.HasPrefix(line, command.CommandPath()) {
			return strings.Fields(strings.ReplaceAll(quotedWords.ReplaceAllString(line, "text"), "charge.json", os.DevNull))[1:]
		}
	}
	words := strings.Fields(command.CommandPath())[1:]
	for range strings.Count(command.Use, " ") {
		words = append(words, "1")
	}

	return words
}

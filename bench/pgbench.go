package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// pgbenchSubject has pgbench send what ProcessIfNew sends, as prepared statements and BEGIN with
// the claim in one round trip.
func (l *limits) pgbenchSubject(workers int) subject {
	return subject{name: pgbenchName, workers: workers, size: 1, run: func(ctx context.Context, d *database, _ settings, _ load, w window) (sample, error) {
		script, err := l.script(workers, d.accounts)
		if err != nil {
			return sample{}, err
		}
		file, remove, err := scratch("idem-bench-*.sql", script)
		if err != nil {
			return sample{}, err
		}
		defer remove()
		if w.warmup > 0 {
			if _, _, err := l.runPgbench(ctx, d, file, workers, 1, w.warmup); err != nil {
				return sample{}, err
			}
		}
		before, err := d.usage(ctx)
		if err != nil {
			return sample{}, err
		}
		rate, transactions, err := l.runPgbench(ctx, d, file, workers, 2, w.length)
		if err != nil {
			return sample{}, err
		}
		after, err := d.usage(ctx)
		if err != nil {
			return sample{}, err
		}
		used := after.since(before, transactions)

		return sample{rate: rate, cost: cost{WALBytes: used.WALBytes, ServerCPU: used.ServerCPU}}, nil
	}}
}

var parameter = regexp.MustCompile(`\$(\d+)`)

// script is the transaction in pgbench's language. The ids are made of numbers by the server,
// because pgbench has only numbers.
func (l *limits) script(workers, accounts int) (string, error) {
	var failed error
	values := func(n string) string {
		i, err := strconv.Atoi(n[1:])
		if err != nil || i < 1 || i > len(l.claim.args) {
			failed = fmt.Errorf("the claim has no argument %s", n)

			return ""
		}
		switch arg := l.claim.args[i-1].(type) {
		case *string, *int64: // Those that MarkProcessed has no value for.
			return "NULL"
		case int64:
			return "(" + strconv.FormatInt(arg, 10) + ")" // It may be negative.
		case string:
			switch {
			case l.claim.isKey(i - 1):
				return "md5(:id)"
			case l.claim.isClaim(i - 1):
				return "md5(:claim)"
			default:
				return "'" + strings.ReplaceAll(arg, "'", "''") + "'"
			}
		}
		failed = fmt.Errorf("argument %s of the claim is a %T, which the script for pgbench cannot have", n, l.claim.args[i-1])

		return ""
	}
	var claim strings.Builder
	for line := range strings.Lines(l.claim.sql) {
		if !strings.HasPrefix(line, "--") { // pgbench would look for variables there.
			claim.WriteString(line)
		}
	}
	claimSQL := parameter.ReplaceAllStringFunc(claim.String(), values)
	business := strings.NewReplacer("$1", "md5(:id)", "$2", ":account", "$3", ":amount").Replace(businessOne)
	const numbers = 10_000_000_000 // for each client

	return strings.Join([]string{
		`\set n :n + 1`,
		fmt.Sprintf(`\set id (:run * 100 + :client_id) * %d + :n`, numbers),
		`\set claim random(1, 9000000000000000)`,
		fmt.Sprintf(`\set account random(0, %d) * %d + :client_id`, accounts/workers-1, workers),
		`\set amount random(1, 100)`,
		`\startpipeline`, `BEGIN;`, strings.TrimSpace(claimSQL) + ";", `\endpipeline`,
		business + ";", `COMMIT;`, "",
	}, "\n"), failed
}

var (
	tps       = regexp.MustCompile(`(?m)^tps = ([0-9.]+)`)
	processed = regexp.MustCompile(`number of transactions actually processed: (\d+)`)
)

// runPgbench returns the rate and the number of transactions. The number of the run tells its
// ids from those of others.
func (l *limits) runPgbench(ctx context.Context, d *database, script string, workers, run int, length time.Duration) (float64, int64, error) {
	config, err := pgx.ParseConfig(d.dsn)
	if err != nil {
		return 0, 0, fmt.Errorf("read the database's URL: %w", err)
	}
	limit := "--time=" + strconv.Itoa(int(math.Round(length.Seconds())))
	if length < time.Second {
		limit = "--transactions=" + strconv.Itoa(max(10, int(length.Milliseconds()/4)))
	}
	cmd := exec.CommandContext(ctx, l.pgbench, "--no-vacuum", "--protocol=prepared", "--client="+strconv.Itoa(workers), //nolint:gosec // It was found in findLimits.
		"--jobs="+strconv.Itoa(min(workers, 2)), limit, "--file="+script, "--define=n=0", "--define=run="+strconv.Itoa(run))
	cmd.Env = append(os.Environ(), "PGHOST="+config.Host, "PGPORT="+strconv.Itoa(int(config.Port)), "PGUSER="+config.User,
		"PGPASSWORD="+config.Password, "PGDATABASE="+config.Database, "PGSSLMODE=disable")
	output, err := cmd.CombinedOutput()
	if err != nil {
		return 0, 0, fmt.Errorf("pgbench: %w\n%s", err, output)
	}
	rate, count := tps.FindSubmatch(output), processed.FindSubmatch(output)
	if rate == nil || count == nil {
		return 0, 0, fmt.Errorf("pgbench says nothing of its speed:\n%s", output)
	}
	perSecond, rateErr := strconv.ParseFloat(string(rate[1]), 64)
	transactions, countErr := strconv.ParseInt(string(count[1]), 10, 64)

	return perSecond, transactions, errors.Join(rateErr, countErr)
}

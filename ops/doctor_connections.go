package ops

import (
	"context"
	"fmt"
	"strconv"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

// limit is how many connections something allows, and how many it has.
type limit struct {
	subject         string
	used, available int64
	raise           func(next string, to int64) (string, []string) // the advice and the commands
}

// connectionLimits are those of the server, this role and this database.
func (d *doctor) connectionLimits(ctx context.Context) ([]limit, error) {
	row, err := d.queries.DoctorConnections(ctx, d.conn)
	if err != nil {
		return nil, err
	}
	all := limit{subject: server, used: row.Used, raise: func(next string, to int64) (string, []string) {
		return d.alterSystem(next, "max_connections", decimal(to))
	}}
	for setting, sign := range map[string]int64{"max_connections": 1, "superuser_reserved_connections": -1, "reserved_connections": -1} {
		text := d.settings[setting].Setting
		if text == "" {
			continue // Before PostgreSQL 16 nothing is reserved for others than superusers.
		}
		value, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return nil, invalid("%s is %q", setting, text)
		}
		all.available += sign * value
	}
	limits := []limit{all}
	if row.RoleLimit >= 0 {
		limits = append(limits, limit{"role " + readable.Name(d.server.Role), row.RoleUsed, int64(row.RoleLimit), func(next string, to int64) (string, []string) {
			return next, []string{"ALTER ROLE " + name(d.server.Role) + " CONNECTION LIMIT " + decimal(to) + ";"}
		}})
	}
	if row.DatabaseLimit >= 0 {
		limits = append(limits, limit{"database " + readable.Name(d.server.Database), row.DatabaseUsed, int64(row.DatabaseLimit), func(next string, to int64) (string, []string) {
			return next, []string{"ALTER DATABASE " + name(d.server.Database) + " CONNECTION LIMIT " + decimal(to) + ";"}
		}})
	}

	return limits, nil
}

func (d *doctor) findConnectionsUsed(ctx context.Context) error {
	limits, err := d.connectionLimits(ctx)
	for _, l := range limits {
		if 10*l.used >= 9*l.available {
			d.add("connections-used", SeverityWarning, l.subject, fmt.Sprintf("%d of %d connections are in use", l.used, l.available),
				"See who holds them; close idle ones, or allow more. max_connections counts after a restart.",
				"SELECT usename, application_name, state, count(*) FROM pg_stat_activity GROUP BY 1, 2, 3 ORDER BY 4 DESC;")
		}
	}

	return err
}

// findConnectionsNeeded compares what the consumers that are known can use at a time with what there is. Each
// partition, or lane, is one transaction at most, and each process has a Cleaner.
func (d *doctor) findConnectionsNeeded(ctx context.Context) error {
	limits, err := d.connectionLimits(ctx)
	if err != nil {
		return err
	}
	pools, err := d.queries.DoctorPools(ctx, d.conn)
	if err != nil {
		return err
	}
	var needed, most int64
	hungriest := ""
	for _, p := range pools {
		n := p.Partitions*max(int64(p.Lanes), 1) + max(p.Owners, 1)
		needed += n
		if n > most {
			hungriest, most = p.Consumer, n
		}
	}
	for _, l := range limits {
		if needed > l.available {
			next, commands := l.raise("Allow more connections, use fewer lanes, or put PgBouncer in between. max_connections counts after a restart.", needed+needed/4+10)
			d.add("connections-needed", SeverityWarning, l.subject,
				fmt.Sprintf("the consumers use up to %d connections at a time, %d of them %s, and there are %d", needed, most, readable.Name(hungriest), l.available), next, commands...)
		}
	}

	return nil
}

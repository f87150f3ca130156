package ops

import (
	"context"
	"strconv"
	"time"

	"github.com/nova-events/idempotent-consumer/internal/readable"
)

const (
	// fromClient is the source of a setting that the connection string sets.
	fromClient = "client"

	// patient is how long a handler may take before the consumer tells of it.
	patient = time.Minute
)

// limits are the limits of time of a session by their findings.
var limits = []struct{ id, setting string }{
	{"statement-timeout", "statement_timeout"},
	{"lock-timeout", "lock_timeout"},
	{"idle-in-transaction-timeout", "idle_in_transaction_session_timeout"},
	{"transaction-timeout", "transaction_timeout"}, // from PostgreSQL 17 on
}

func (d *doctor) sessionChecks() []check {
	checks := []check{{ids: []string{"pooler-mode", "prepared-statements"}, find: d.findPooler}}
	for _, limit := range limits {
		checks = append(checks, check{ids: []string{limit.id}, find: func(context.Context) error { return d.findLimit(limit.id, limit.setting) }})
	}

	return append(checks, check{ids: []string{"connections-used"}, find: d.findConnectionsUsed})
}

// findLimit looks at a limit of time, which must leave a handler its time.
func (d *doctor) findLimit(id, setting string) error {
	s := d.settings[setting]
	if s.Setting == "" {
		d.ok(id, "role "+readable.Name(d.server.Role), "this server has none")

		return nil
	}
	ms, err := strconv.ParseInt(s.Setting, 10, 64)
	if err != nil {
		return invalid("%s is %q", setting, s.Setting)
	}
	if value := time.Duration(ms) * time.Millisecond; value > 0 && value < patient {
		next, commands := "Raise it for the role, above the time that the slowest handler takes, or switch it off, and connect again.", []string{d.alterRole(setting, "0")}
		if s.Source == fromClient {
			next, commands = "Leave it out of the connection string, and out of PGOPTIONS.", nil
		}
		d.add(id, SeverityWarning, "role "+readable.Name(d.server.Role), setting+" is "+value.String(), next, commands...)
	}

	return nil
}

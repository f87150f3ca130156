package schema

import (
	"errors"
	"regexp"
	"strings"
)

// grants is what the guard, its cleaner and nobody's DDL need. Each statement stands alone;
// leave out what a role is not to do.
const grants = `-- All of the guard's SQL names the schema.
GRANT USAGE ON SCHEMA idem TO role;
-- Every call looks up the consumer. Its registration needs INSERT; without that the consumer has
-- to be registered beforehand ("idemctl consumer register").
GRANT SELECT ON idem.consumers TO role;
GRANT INSERT (id, name, retention) ON idem.consumers TO role;
-- The binding to a Kafka group.
GRANT UPDATE (bound_cluster, bound_group) ON idem.consumers TO role;
-- The claim.
GRANT SELECT, INSERT ON idem.processed_events TO role;
-- WithHandlerDuration.
GRANT UPDATE (metadata) ON idem.processed_events TO role;
-- Forget and cleanup.
GRANT DELETE ON idem.processed_events TO role;
GRANT SELECT, UPDATE ON idem.cleanup TO role;
-- Checkpoints.
GRANT SELECT, INSERT, UPDATE ON idem.checkpoints TO role;
-- Dead letters.
GRANT SELECT, INSERT ON idem.dead_letters TO role;
GRANT UPDATE (state, attempts, starts, copied, error, failed_at, resolved_at, event_id, claim_id,
    record_time, record_key, record_value, header_keys, header_values) ON idem.dead_letters TO role;
-- Cleanup of those that are resolved.
GRANT DELETE ON idem.dead_letters TO role;
-- Leases. Forget and cleanup delete results, whether there are leases or not.
GRANT SELECT, INSERT, DELETE ON idem.leases TO role;
GRANT UPDATE (until, fingerprint, token, attempts, unknown, needs_decision, state, error) ON idem.leases TO role;
-- An operator's decision on one.
GRANT UPDATE (decided_at, decided_by, decision_reason) ON idem.leases TO role;
GRANT SELECT, INSERT, DELETE ON idem.results TO role;
GRANT UPDATE (stored_at, content_type, body) ON idem.results TO role;
-- The outbox: to publish.
GRANT INSERT (key_hash, event_id, topic, key, value, header_keys, header_values) ON idem.outbox TO role;
-- Its relay.
GRANT SELECT, DELETE ON idem.outbox TO role;
GRANT UPDATE (state, error) ON idem.outbox TO role;
GRANT SELECT ON idem.outbox_id_seq TO role;
`

// Grants returns the SQL that gives a role all that the guard and its cleaner need in the
// schema of that name, and no more. It neither creates the role nor anything else.
func Grants(name, role string) (string, error) {
	if err := Validate(name); err != nil {
		return "", err
	}
	if role == "" || strings.ContainsRune(role, 0) {
		return "", errors.New("the role's name is empty or contains a NUL byte")
	}
	sql := Qualify(strings.ReplaceAll(grants, "ON SCHEMA idem ", "ON SCHEMA "+quote(name)+" "), name)

	return strings.ReplaceAll(sql, "TO role;", "TO "+quote(role)+";"), nil // The last: its name is as it is.
}

// Right is one of those that Grants gives.
type Right struct {
	Privilege string // SELECT, for instance
	Table     string // its name; empty: the schema itself
	Column    string // empty: all of the table
}

var (
	grantStatement = regexp.MustCompile(`GRANT ([^;]+) ON (?:SCHEMA idem|idem\.(\w+)) TO role;`)
	grantPrivilege = regexp.MustCompile(`([A-Z]+)(?: \(([^)]+)\))?`)
)

// Rights are what Grants gives, one by one, in its order.
func Rights() []Right {
	var rights []Right
	for _, statement := range grantStatement.FindAllStringSubmatch(grants, -1) {
		for _, privilege := range grantPrivilege.FindAllStringSubmatch(statement[1], -1) {
			for column := range strings.SplitSeq(privilege[2], ",") {
				rights = append(rights, Right{Privilege: privilege[1], Table: statement[2], Column: strings.TrimSpace(column)})
			}
		}
	}

	return rights
}

func quote(identifier string) string {
	return `"` + strings.ReplaceAll(identifier, `"`, `""`) + `"`
}

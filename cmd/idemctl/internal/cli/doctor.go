package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/kafkafacts"
	"github.com/nova-events/idempotent-consumer/ops"
)

func newDoctor(a *app) *cobra.Command {
	var brokers string
	command := &cobra.Command{
		Use:   "doctor",
		Short: "Find what is wrong with the tables, the server, the connection and the group",
		Long: `Makes checks that change nothing, and says for each what it has seen, why that matters and what to do.
Use the connection string of a service, so that the checks are about that service's rights, timeouts
and pooler. A check that the role may not make is unknown; a member of pg_monitor may make all.

With --brokers ($IDEM_BROKERS) it checks Kafka too, for the groups to which the consumers belong:

  ` + kafkafacts.Form + `

The parameter sasl is PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512 (default PLAIN where there is a user);
ca, cert and key are files in PEM. A password on the command line is visible in the list of
processes; the environment keeps it private.

The exit status is 7 if there are problems, else 6 if there are warnings or checks that could not be
made. docs/operations.md has a section for each check, under its name.`,
		Example: `  idemctl doctor
  idemctl doctor --brokers kafka-1.example.com:9092
  idemctl doctor --json | jq '.findings[] | select(.severity != "ok")'`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error { return a.diagnose(command, brokers) },
	}
	brokersFlag(command, &brokers, "`BROKERS` of the cluster of the groups")

	return command
}

func (a *app) diagnose(command *cobra.Command, brokers string) error {
	var opts ops.DoctorOptions
	target, given, err := a.chooseBrokers(command, brokers)
	if err != nil {
		return err
	}
	if given {
		opts.Kafka = target.Facts
	}

	return a.withClient(command, func(ctx context.Context, c *ops.Client) error {
		diagnosis, err := c.Diagnose(ctx, opts)
		if err != nil {
			return err
		}
		if err := a.print(diagnosis, diagnosisText(diagnosis)); err != nil {
			return err
		}
		switch diagnosis.Verdict {
		case ops.SeverityProblem:
			return fail(exitProblem, "there are problems")
		case ops.SeverityWarning:
			return fail(exitWarning, "there are warnings")
		case ops.SeverityUnknown:
			return fail(exitWarning, "some checks could not be made")
		default:
			return nil
		}
	})
}

// diagnosisText has a line for each check, and behind them, the worst first, what there is to do.
func diagnosisText(d ops.Diagnosis) string {
	t := table{columns: []column{{name: "VERDICT"}, {name: "CHECK"}, {name: "SUBJECT"}, {name: "SEEN"}}}
	var bad []ops.Finding
	for _, f := range d.Findings {
		t.row(string(f.Severity), f.ID, f.Subject, f.Seen)
		if f.Severity != ops.SeverityOK {
			bad = append(bad, f)
		}
	}
	var b strings.Builder
	b.WriteString(t.String())
	for _, severity := range []ops.Severity{ops.SeverityProblem, ops.SeverityWarning, ops.SeverityUnknown} {
		for _, f := range slices.DeleteFunc(slices.Clone(bad), func(f ops.Finding) bool { return f.Severity != severity }) {
			b.WriteString("\n" + findingText(f))
		}
	}

	return escapeLines(b.String())
}

func findingText(f ops.Finding) string {
	pairs := [][2]string{
		{strings.ToUpper(string(f.Severity)), f.ID + ": " + f.Subject},
		{"  seen", f.Seen}, {"  matters", f.Why}, {"  next", f.Next},
	}
	if len(f.Commands) > 0 {
		pairs = append(pairs, [2]string{"  type", strings.Join(f.Commands, "\n")})
	}

	return facts(append(pairs, [2]string{"  more", f.Runbook})...)
}

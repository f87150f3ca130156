package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/kafkafacts"
)

func brokersFlag(command *cobra.Command, brokers *string, usage string) {
	command.Flags().StringVar(brokers, "brokers", "", usage+" (env IDEM_BROKERS)")
}

// chooseBrokers returns the cluster to ask, and whether one is named.
func (a *app) chooseBrokers(command *cobra.Command, flag string) (target kafkafacts.Target, given bool, err error) {
	brokers, source := a.choose(command.Flags().Changed("brokers"), flag, "--brokers", "IDEM_BROKERS")
	if brokers == "" {
		return target, false, nil
	}
	target, err = kafkafacts.Parse(brokers)
	if err != nil {
		return target, false, fail(exitUsage, "%s", lines("cannot read the brokers of "+source+": "+err.Error(), "They should look like "+kafkafacts.Form))
	}
	if target.SendsPassword() {
		_, _ = fmt.Fprintln(a.Stderr, "idemctl: warning: the password goes to Kafka over connections that are not encrypted; use kafka+tls://, or SCRAM")
	}

	return target, true, nil
}

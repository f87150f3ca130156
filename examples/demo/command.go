package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/spf13/cobra"
)

const (
	inprocess   = "inprocess"
	apacheKafka = "kafka"

	help = `Sends a stream of payments through Kafka into PostgreSQL, to three consumers one after the other:

  naive     a transaction for each payment; after it the offset is committed to Kafka
  guarded   the same handler, and a transaction for each payment, behind the guard
  batches   behind the guard, many payments in a transaction

Payments come twice because the producer sends one in ten twice, and because Kafka delivers again
what a consumer had not committed. The consumers are processes of their own; some are killed by
SIGKILL in the middle of their work, some join late, some leave. At the end the ledgers in
PostgreSQL are compared with what was sent.

With --failover nobody is killed but PostgreSQL: the naive and the guarded consumer work on a
primary that dies with its last commits unreplicated, and go on with its standby.

With --console two consumers work until Ctrl-C, one of which refuses some payments, and a web page shows
what they do. --events is not heeded.

PostgreSQL and the broker are started for the demo and removed after it. Of servers of your
own it uses only what it creates itself, and removes that: schemas, a topic and groups whose
names begin with idem_demo.

Exit status: 0 if behind the guard each payment took effect exactly once, 1 if not, 2 if the
demo could not be carried out.`

	examples = `  demo                                 with temporary servers
  demo --broker kafka                  with a temporary Apache Kafka (needs Java and Maven)
  demo --events 200000 --json          more events; the last line of stdout is JSON
  demo --keep                          look at the tables afterwards
  demo --console                       look at consumers at work in the browser
  demo --failover                      the primary is lost, and its standby lacks the last commits
  demo --brokers localhost:9092 --dsn postgres://me@localhost/test`
)

var errUsage = errors.New("wrong usage")

// settings is what the user asks for.
type settings struct {
	broker     string
	brokers    []string
	dsn        string
	events     int
	partitions int
	batch      int
	seed       uint64
	json       bool
	failover   bool
	console    bool
	keepTables bool

	breakGuard bool // for a test
}

func newCommand(out, messages io.Writer) *cobra.Command {
	var s settings
	command := &cobra.Command{
		Use:           "demo",
		Short:         "Show what the guard does, beside a consumer without one",
		Long:          help,
		Example:       examples,
		Args:          cobra.NoArgs,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE: func(command *cobra.Command, _ []string) error {
			if s.failover && !command.Flags().Changed("events") {
				s.events = 10_000
			}
			if err := s.validate(); err != nil {
				return err
			}

			return run(command.Context(), s, out, messages)
		},
	}
	command.SetOut(out)
	command.SetErr(messages)
	flags := command.Flags()
	flags.SortFlags = false
	flags.StringVar(&s.broker, "broker", cmp.Or(os.Getenv("BROKER"), inprocess), "broker to start: inprocess, or kafka for Apache Kafka (environment: BROKER)")
	flags.StringSliceVar(&s.brokers, "brokers", nil, "use brokers of your own: host:port,...")
	flags.StringVar(&s.dsn, "dsn", "", "use a PostgreSQL of your own: postgres://user@host/database; not a transaction pooler")
	flags.IntVar(&s.events, "events", 20_000, "number of distinct payments; with --failover 10,000 by default")
	flags.IntVar(&s.partitions, "partitions", 8, "number of partitions of the topic")
	flags.IntVar(&s.batch, "batch", 500, "most payments in a transaction of the consumer with batches")
	flags.Uint64Var(&s.seed, "seed", uint64(rand.Uint32()), "number that determines the stream and who is killed (default: random)") //nolint:gosec // Not a secret.
	flags.BoolVar(&s.failover, "failover", false, "let the primary die with its last commits unreplicated")
	flags.BoolVar(&s.console, "console", false, "serve the console, a web page, while two consumers work")
	flags.BoolVar(&s.keepTables, "keep", false, "keep the tables for a look at them; PostgreSQL goes on until Ctrl-C")
	flags.BoolVar(&s.json, "json", false, "end stdout with one line of JSON instead of the table")
	flags.Lookup("seed").DefValue = "0"

	return command
}

func (s settings) validate() error {
	switch {
	case s.broker != inprocess && s.broker != apacheKafka:
		return fmt.Errorf("%w: --broker (or BROKER) must be %s or %s, not %q", errUsage, inprocess, apacheKafka, s.broker)
	case s.events < 1 || s.events > 100_000_000:
		return fmt.Errorf("%w: --events must be between 1 and 100 million", errUsage)
	case s.partitions < 1 || s.partitions > 1_000:
		return fmt.Errorf("%w: --partitions must be between 1 and 1,000", errUsage)
	case s.batch < 1 || s.batch > 10_000:
		return fmt.Errorf("%w: --batch must be between 1 and 10,000", errUsage)
	case s.console && (s.failover || s.keepTables || s.json):
		return fmt.Errorf("%w: --console goes on until Ctrl-C and ends without a report: leave --failover, --keep and --json out", errUsage)
	case s.failover && s.keepTables:
		return fmt.Errorf("%w: --failover replaces its PostgreSQL, so there is nothing to keep: leave --keep out", errUsage)
	case s.failover && s.dsn != "":
		return fmt.Errorf("%w: --failover kills its PostgreSQL, so it starts servers of its own: leave --dsn out", errUsage)
	default:
		return nil
	}
}

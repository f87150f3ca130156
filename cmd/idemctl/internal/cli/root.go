package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/schema"
)

const rootHelp = `Idemctl operates on the tables in which the guard remembers processed events.

Connection: --database-url, else $IDEM_DATABASE_URL, else $DATABASE_URL, else what the PG*
variables of libpq say (PGHOST, PGUSER, PGPASSFILE, PGSERVICE, …). A password on the command
line is visible in the list of processes; the environment or a password file keeps it private.
Flags always win over the environment. A flag that is empty is refused, as it may be a variable of a
script that is not set; --consumer and --brokers mean all, or none, then.

Output: data on stdout, everything else on stderr; a progress bar only on a terminal. With
--json every command prints one JSON document: names in snake_case, lists that are empty as
[], times in RFC 3339, durations as numbers of seconds (…_seconds). Control characters in the
content of records are escaped, except by "deadletter show --raw-value".

Commands that lose something ask first. Without a terminal they need --yes.

Exit status:
    0  done
    1  failed; the message says what to do
    2  wrong usage; nothing was tried
    3  what was named (an event, a dead letter, a lease, a consumer, a checkpoint, a record of the outbox) is not known,
       or nothing that was named is in a state that the command changes
    4  not confirmed: the answer was no, or --yes is missing; nothing was changed
    5  cleanup: another process is cleaning up
    6  doctor: warnings, or checks that could not be made
    7  doctor: problems
  130  interrupted by a signal; what was done until then is reported and stays done`

const rootExample = `  export IDEM_DATABASE_URL=postgres://me@db.example.com/shop
  idemctl migrate up                             create the tables
  idemctl status                                 what they hold
  idemctl doctor                                 what is wrong, and what to do
  idemctl console                                all of this as a web page
  idemctl show 4711 --consumer orders            was this event processed?
  idemctl explain 4711                           what became of it?
  idemctl forget 4711 --consumer orders          let it be processed again when it is delivered again
  idemctl reprocess 4711 --consumer orders       process its record again now
  idemctl cleanup --dry-run                      what retention would delete
  idemctl deadletter list                        what could not be processed?
  idemctl deadletter replay --all --dry-run      what would be tried again
  idemctl lease list --state undecided           did it take effect outside? somebody has to say
  idemctl outbox list                            what does Kafka refuse?
  idemctl checkpoint list                        how far is each partition?`

func newRoot(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:               "idemctl",
		Short:             "Operate on the guard's tables",
		Long:              rootHelp,
		Example:           rootExample,
		Version:           a.version(),
		SilenceErrors:     true,
		SilenceUsage:      true,
		DisableAutoGenTag: true,
		PersistentPreRunE: a.begin,
	}
	root.SetArgs(a.Args)
	root.SetIn(a.Stdin)
	root.SetOut(a.Stdout)
	root.SetErr(a.Stderr)

	flags := root.PersistentFlags()
	flags.SortFlags = false
	flags.StringVar(&a.settings.databaseURL, "database-url", "", "`URL` or keyword=value string of the database (env IDEM_DATABASE_URL, DATABASE_URL)")
	flags.StringVar(&a.settings.schema, "schema", schema.DefaultName, "PostgreSQL schema of the guard's tables (env IDEM_SCHEMA)")
	flags.BoolVar(&a.settings.json, "json", false, "print JSON")
	flags.DurationVar(&a.settings.timeout, "timeout", 0, "give up after this long, e.g. 30s (default: never)")

	root.AddCommand(
		newMigrate(a),
		newStatus(a),
		newDoctor(a),
		newConsole(a),
		newShow(a),
		newExplain(a),
		newMark(a),
		newForget(a),
		newReprocess(a),
		newCleanup(a),
		newConsumer(a),
		newDeadLetter(a),
		newLease(a),
		newOutbox(a),
		newCheckpoint(a),
		newImport(a),
		newVersion(a),
		newMan(a),
	)
	root.SetFlagErrorFunc(explainFlag)
	refuseStrays(root)
	a.completeNames(root)

	return root
}

// begin runs before each command, after its line of arguments was found valid.
func (a *app) begin(command *cobra.Command, _ []string) error {
	flags := command.Flags()
	if err := refuseEmpty(flags); err != nil {
		return err
	}
	var source string
	a.settings.schema, source = a.choose(flags.Changed("schema"), a.settings.schema, "--schema", "IDEM_SCHEMA")
	if err := schema.Validate(a.settings.schema); err != nil {
		return fmt.Errorf("%s: %w", source, err)
	}
	a.target = a.chooseTarget(flags.Changed("database-url"))
	if flags.Lookup(ofConsumer) != nil {
		a.settings.consumer, _ = a.choose(flags.Changed(ofConsumer), a.settings.consumer, "--consumer", "IDEM_CONSUMER")
	}
	if a.settings.timeout < 0 {
		return fmt.Errorf("--timeout is negative (%v)", a.settings.timeout)
	}
	a.running = true

	return nil
}

// choose returns a setting and where it comes from: the flag if it was given, else the first
// variable that is set and not empty, else the flag's default, of which the source is "".
func (a *app) choose(given bool, value, flag string, variables ...string) (chosen, source string) {
	if given {
		return value, flag
	}
	for _, name := range variables {
		if text, ok := a.LookupEnv(name); ok && text != "" {
			return text, "$" + name
		}
	}

	return value, ""
}

// group is a command that only holds others.
func group(use, short, long string, commands ...*cobra.Command) *cobra.Command {
	command := &cobra.Command{
		Use:   use,
		Short: short,
		Long:  long,
		RunE:  needsCommand,
	}
	command.AddCommand(commands...)

	return command
}

// ofConsumer is the flag that names a consumer.
const ofConsumer = "consumer"

func (a *app) consumerFlag(command *cobra.Command, usage string) {
	command.Flags().StringVarP(&a.settings.consumer, ofConsumer, "c", "", usage+" (env IDEM_CONSUMER)")
}

func (a *app) yesFlag(command *cobra.Command) {
	command.Flags().BoolVarP(&a.settings.yes, "yes", "y", false, "do not ask")
}

// needConsumer returns an error unless a consumer was named.
func (a *app) needConsumer() error {
	if a.settings.consumer == "" {
		return fail(exitUsage, "which consumer? name it with --consumer or $IDEM_CONSUMER; \"idemctl consumer list\" lists them")
	}

	return nil
}

package cli

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

const idsHelp = `Event ids are arguments, or lines of the file that --file names, or lines of stdin if the only
argument is "-". All of them are read and checked before anything is done. Each line is an id,
without its end of line; empty lines are skipped. Put "--" before ids that begin with a dash.`

// eventIDs are the ids that a command was given.
type eventIDs struct {
	ids       []string // distinct, in the order in which they came
	fromStdin bool
}

// readEventIDs reads the event ids of a command from where its arguments say.
func (a *app) readEventIDs(ctx context.Context, args []string, file string) (eventIDs, error) {
	switch {
	case file != "" && len(args) > 0:
		return eventIDs{}, fail(exitUsage, "give event ids as arguments or in --file, not both")
	case file == "-" || len(args) == 1 && args[0] == "-":
		ids, err := a.scanStdin(ctx)

		return eventIDs{ids: ids, fromStdin: true}, err
	case file != "":
		f, err := os.Open(file) //nolint:gosec // The operator chooses the file.
		if err != nil {
			return eventIDs{}, fmt.Errorf("read event ids: %w", err)
		}
		defer f.Close() //nolint:errcheck // It was only read.
		ids, err := scanEventIDs(f, file)

		return eventIDs{ids: ids}, err
	case len(args) == 0:
		return eventIDs{}, fail(exitUsage, "which events? give event ids as arguments, in --file FILE, or on stdin with \"-\"")
	}
	var all distinct
	for _, id := range args {
		if err := checkEventID(id); err != nil {
			return eventIDs{}, err
		}
		all.add(id)
	}

	return eventIDs{ids: all.ids}, nil
}

// scanStdin reads event ids from stdin, which may be somebody who types and gives up.
func (a *app) scanStdin(ctx context.Context) ([]string, error) {
	type result struct {
		ids []string
		err error
	}
	results := make(chan result, 1)
	go func() { // It ends with stdin, or with the process: reading cannot be stopped.
		ids, err := scanEventIDs(a.Stdin, "stdin")
		results <- result{ids, err}
	}()
	select {
	case r := <-results:
		return r.ids, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("nothing was changed: %w", context.Cause(ctx))
	}
}

// byteOrderMark is what programs on Windows write before a text in UTF-8. It is no part of the first id.
const byteOrderMark = "\ufeff"

func scanEventIDs(from io.Reader, name string) ([]string, error) {
	var all distinct
	scanner := bufio.NewScanner(from)
	scanner.Buffer(nil, 1<<20)
	line := 0
	for scanner.Scan() {
		line++
		id := scanner.Text() // Without "\n" or "\r\n".
		if line == 1 {
			id = strings.TrimPrefix(id, byteOrderMark)
		}
		if id == "" {
			continue
		}
		if err := ops.CheckEventID(id); err != nil {
			return nil, fail(exitFailure, "%s, line %d: %w; nothing was changed", name, line, err)
		}
		all.add(id)
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("%s, after line %d: %w; nothing was changed", name, line, err)
	}
	if len(all.ids) == 0 {
		return nil, fmt.Errorf("%s holds no event ids", name)
	}

	return all.ids, nil
}

// checkEventID finds what would be refused, before anything is done.
func checkEventID(id string) error {
	if err := ops.CheckEventID(id); err != nil {
		return fail(exitUsage, "event id %s: %w", readable.Name(readable.Short(id)), err)
	}

	return nil
}

type distinct struct {
	ids  []string
	seen map[string]struct{}
}

func (d *distinct) add(id string) {
	if d.seen == nil {
		d.seen = map[string]struct{}{}
	}
	if _, ok := d.seen[id]; !ok {
		d.seen[id] = struct{}{}
		d.ids = append(d.ids, id)
	}
}

func fileFlag(command *cobra.Command, file *string) {
	command.Flags().StringVarP(file, "file", "f", "", "read event ids from `FILE`, one a line")
}

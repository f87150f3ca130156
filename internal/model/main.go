// Model checks TLA+ specifications: of how a group's consumers process a partition (idem.tla), of how an effect outside the
// transaction is run once (lease.tla), and of how a relay finds what was published (outbox.tla):
//
//	make model
//
// It then switches off one mechanism after the other, and has the checker find how a promise is broken without it.
// What it finds stands in docs/model.md.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	err := run(ctx, os.Args[1:], os.Stderr)
	stop()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "model:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stderr io.Writer) error {
	flags := flag.NewFlagSet("model", flag.ContinueOnError)
	flags.SetOutput(stderr)
	root := flags.String("root", ".", "the `folder` of the repository")
	only := flags.String("run", "", "only the checks whose names match this `regexp`")
	write := flags.Bool("write", false, "write what is found into "+document)
	if err := flags.Parse(args); err != nil {
		return err
	}
	pattern, err := regexp.Compile(*only)
	if err != nil {
		return fmt.Errorf("-run: %w", err)
	}
	checker, err := install(ctx)
	if err != nil {
		return err
	}

	var tables []table
	found := map[string]result{}
	wrong := 0
	for _, s := range specifications {
		module := filepath.Join(*root, "internal", "model", s.name+".tla")
		mechanisms, err := readMechanisms(module)
		if err != nil {
			return err
		}
		without := s.withMechanisms(mechanisms)
		tables = append(tables, s.tables(without)...)
		for _, c := range slices.Concat(s.holds, without, s.limits) {
			if !pattern.MatchString(c.name) {
				continue
			}
			r, err := c.run(ctx, checker, module)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err == nil {
				err = c.judge(r)
			}
			if err != nil {
				wrong++
				_, _ = fmt.Fprintf(stderr, "%s: WRONG: %v\n", c.name, err)

				continue
			}
			found[c.name] = r
			_, _ = fmt.Fprintf(stderr, "%s: %s\n", c.name, r)
		}
	}
	switch {
	case wrong > 0:
		return fmt.Errorf("%d checks went wrong", wrong)
	case *write:
		return writeDocument(filepath.Join(*root, document), tables, found)
	default:
		return nil
	}
}

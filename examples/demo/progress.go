package main

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/term"
)

// lineInterval is how often progress is told where it cannot be drawn.
const lineInterval = 3 * time.Second

// progress shows how far a phase has come: a bar on a terminal, else a line now and then.
type progress struct {
	out   io.Writer
	title string
	total int64
	began time.Time

	bar    *progressbar.ProgressBar // nil where out is no terminal
	told   time.Time
	latest int64
}

func newProgress(out io.Writer, title string, total int64) *progress {
	p := &progress{out: out, title: title, total: total, began: time.Now(), told: time.Now()}
	if file, ok := out.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(out),
			progressbar.OptionSetDescription(title),
			progressbar.OptionSetWidth(30),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
			progressbar.OptionShowCount(),
			progressbar.OptionShowIts(),
			progressbar.OptionSetItsString("records"),
			progressbar.OptionThrottle(pollInterval),
			progressbar.OptionSetRenderBlankState(true),
		)
	}

	return p
}

// set tells how many records are done.
func (p *progress) set(done int64) {
	p.latest = done
	if done == p.total {
		return // close tells it.
	}
	if p.bar != nil {
		_ = p.bar.Set64(done) // It fails only beyond the total, and then draws a full bar.

		return
	}
	if time.Since(p.told) >= lineInterval {
		p.line()
	}
}

// note tells what has happened, above the bar.
func (p *progress) note(what string) {
	if p.bar != nil {
		_ = p.bar.Clear()
	}
	_, _ = fmt.Fprintf(p.out, "%s: at %d%% %s\n", p.title, 100*p.latest/p.total, what)
	if p.bar != nil {
		_ = p.bar.RenderBlank()
	}
}

// close draws the last state and leaves the line.
func (p *progress) close() {
	if p.bar != nil {
		_ = p.bar.Set64(p.latest)
		_ = p.bar.Exit()
		_, _ = fmt.Fprintln(p.out)

		return
	}
	p.line()
}

func (p *progress) line() {
	p.told = time.Now()
	rate := float64(p.latest) / time.Since(p.began).Seconds()
	_, _ = fmt.Fprintf(p.out, "%s: %d of %d records (%d%%), %.0f records/s\n", p.title, p.latest, p.total, 100*p.latest/p.total, rate)
}

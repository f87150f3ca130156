package cli

import (
	"io"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress is a bar on stderr, where that is a terminal.
type progress struct {
	title string
	out   io.Writer                // nil: nothing is shown
	bar   *progressbar.ProgressBar // nil before the first step; a bar without a total would spin in a goroutine of its own
}

func (a *app) progress(title string) *progress {
	p := &progress{title: title}
	if isTerminal(a.Stderr) {
		p.out = a.Stderr
	}

	return p
}

// shown reports whether anybody sees the bar.
func (p *progress) shown() bool { return p.out != nil }

// set says that done of total is done. It is an ops.Progress.
func (p *progress) set(done, total int64) {
	if !p.shown() || total <= 0 {
		return
	}
	if p.bar == nil {
		p.bar = progressbar.NewOptions64(total,
			progressbar.OptionSetWriter(p.out),
			progressbar.OptionSetDescription(p.title),
			progressbar.OptionSetWidth(30),
			progressbar.OptionSetTheme(progressbar.ThemeASCII),
			progressbar.OptionShowCount(),
			progressbar.OptionThrottle(100*time.Millisecond),
			progressbar.OptionClearOnFinish(),
		)
	}
	if p.bar.GetMax64() != total {
		p.bar.ChangeMax64(total)
	}
	_ = p.bar.Set64(min(done, total)) // It is only a picture.
}

// end removes the bar, so that the report stands in its place.
func (p *progress) end() {
	if p.bar != nil {
		_ = p.bar.Clear()
		_ = p.bar.Exit()
		p.bar = nil
	}
}

package browsertest_test

import (
	"bufio"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

var screenshots = flag.String("screenshots", "", "folder for the screenshots of docs/console.md; empty: none are taken")

// demo starts the demo and returns the address of its console.
func demo(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "demo")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-C", "../../examples", "-o", program, "./demo").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	command := exec.CommandContext(t.Context(), program, "--console", "--seed", "1")
	command.Cancel = func() error { return command.Process.Signal(os.Interrupt) } // It stops its servers.
	command.WaitDelay = 30 * time.Second
	messages, err := command.StderrPipe()
	if err == nil {
		err = command.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Wait() }) // The test's context has ended.
	lines := bufio.NewReader(messages)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("the demo ends: %v", err)
		}
		if url := regexp.MustCompile(`http://\S+`).FindString(line); url != "" {
			go func() { _, _ = io.Copy(io.Discard, lines) }() // Until it ends.

			return url
		}
	}
}

// shot takes a screenshot of a page.
func (b *tab) shot(name string, height int64) {
	b.t.Helper()
	if *screenshots == "" {
		return
	}
	b.run(chromedp.EmulateViewport(1280, height))
	if err := os.WriteFile(filepath.Join(*screenshots, name+".png"), get(b, chromedp.CaptureScreenshot()), 0o600); err != nil {
		b.t.Fatal(err)
	}
}

// The console of the demo shows consumers at work, and replays what they refused.
func TestDemo(t *testing.T) {
	t.Parallel()
	url := demo(t)
	b := newTab(t)
	b.open(url)
	b.sees("payments", "statements", "Live")
	for until := time.Now().Add(timeout); eval[int](b, `+document.querySelector('[data-k=open]').textContent`) < 5; {
		if time.Now().After(until) {
			t.Fatal("no dead letters come")
		}
		b.run(chromedp.Sleep(time.Second))
	}
	if *screenshots != "" {
		b.run(chromedp.Sleep(50 * time.Second)) // For something to be drawn.
	}
	b.open(url)
	b.sees("Live", "/s")
	b.shot("console-overview", 700)
	b.scheme("dark")
	b.shot("console-dark", 700)
	b.scheme("light")
	b.open(url + "partitions")
	b.sees("Live", "moving")
	b.shot("console-partitions", 640)
	b.open(url + "deadletters?consumer=payments")
	b.shot("console-deadletters", 680)
	b.run(chromedp.Click(`tbody th a[href^="deadletters?"]`))
	b.sees("Errors like")
	b.open(url + "deadletters?state=open")
	b.run(chromedp.Click(`th a[href^="deadletter?id"]`))
	b.sees("Value", "account")
	b.run(chromedp.Click(`a[href^="event?id"]`))
	b.sees("What became of an event", "failed", "See the dead letter")
	b.shot("console-event", 520)
	b.run(chromedp.Click(`.story a[href^="deadletter?id"]`))
	b.sees("Value")
	b.run(chromedp.Click(`button[formaction=deadletters-replay]`))
	b.sees("Replay 1 dead letter?")
	b.open(url + "deadletters-discard?error=limit")
	b.sees("never processed")
	b.shot("console-plan", 640)
	b.run(chromedp.Click(`.danger`))
	b.sees("discarded")
	b.open(url + "consumer?name=statements")
	b.run(chromedp.SendKeys(`input[name=reason]`, "deploy of the reports"), chromedp.Click(`form[action=pause] button`))
	b.sees("Paused since", "by demo", "deploy of the reports")
	b.shot("console-consumer", 480)
	b.open(url + "partitions?consumer=statements")
	b.sees("paused")
	b.open(url + "consumer?name=statements")
	b.run(chromedp.Click(`form[action=resume] button`))
	b.sees("Reason")
	b.open(url + "doctor")
	b.clean()
}

package cli

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// Nobody but who sits at this machine reads anything, and nobody changes anything, without a token.
func TestConsoleNeedsATokenForMore(t *testing.T) {
	t.Parallel()
	b := setup(t)
	short := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(short, []byte("short\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{
		{"--write"}, {"--listen", "0.0.0.0:0"}, {"--listen", ":0"}, {"--listen", "192.0.2.1:0"}, {"--listen", "[::]:0"}, {"--listen", "localhost.evil.example:0"},
		{"--token-file", short}, {"--token-file", short + "nosuch"}, {"--write", "--token-file", short}, {"--brokers", "kafka://"},
	} {
		b.run(t, append([]string{"console"}, args...)...).want(t, exitUsage)
	}
	b.run(t, "console", "--listen", "localhost").want(t, exitUsage, "an address with a port")
}

// It serves until it is interrupted, also while somebody looks.
func TestConsoleServes(t *testing.T) {
	t.Parallel()
	b := setup(t)
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("correct-horse-battery-staple\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		token string
		shows string
		warns string
	}{
		"reading": {shows: "read only"},
		"brokers": {args: []string{"--brokers", "127.0.0.1:1"}, shows: "read only", warns: "the brokers do not answer"},
		"writing": {args: []string{"--write", "--token-file", file}, token: "correct-horse-battery-staple", shows: "may change"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, interrupt := context.WithCancel(t.Context())
			out, in := io.Pipe()
			var stderr bytes.Buffer
			ended := make(chan int, 1)
			go func() {
				ended <- Program{
					Args: append([]string{"console", "--listen", "127.0.0.1:0"}, c.args...), Stdin: strings.NewReader(""), Stdout: in, Stderr: &stderr, LookupEnv: lookup(b.env),
				}.Run(ctx)
			}()
			line, err := bufio.NewReader(out).ReadString('\n')
			url := regexp.MustCompile(`http://\S+`).FindString(line)
			if err != nil || url == "" {
				t.Fatal(line, err)
			}
			if body := fetch(t, url, c.token); !strings.Contains(body, c.shows) {
				t.Error(body)
			}
			stream := request(t, url+"live?view=overview", c.token)
			defer stream.Body.Close() //nolint:errcheck // It ends with the console.
			interrupt()
			if status := <-ended; status != 0 {
				t.Errorf("exit status %d", status)
			}
			if said := stderr.String(); !strings.Contains(said, c.warns) || c.warns == "" && said != "" {
				t.Errorf("stderr has %q", said)
			}
		})
	}
}

func request(t *testing.T, url, token string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Close = true
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}

	return response
}

func fetch(t *testing.T, url, token string) string {
	t.Helper()
	response := request(t, url, token)
	defer response.Body.Close() //nolint:errcheck // It is read.
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}

	return string(body)
}

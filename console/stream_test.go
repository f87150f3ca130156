package console_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"
)

// Viewers are told what moves, as a part of the page.
func TestStream(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.exec(t, `INSERT INTO idem.checkpoints (consumer_id, topic, partition, next_offset) VALUES (idem.consumer_id('orders'), E'a\r\n\ndata: evil', 3, 1234567)`)
	for view, want := range map[string]string{"overview": "<caption>Consumers", "partitions": "1,234,567"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, b.server.URL+"/live?view="+view, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := http.DefaultTransport.RoundTrip(r)
		if err != nil {
			t.Fatal(err)
		}
		if got := response.Header.Get("Content-Type"); got != "text/event-stream" {
			t.Error(got)
		}
		var event []string
		for lines := bufio.NewScanner(response.Body); lines.Scan() && lines.Text() != ""; {
			event = append(event, lines.Text())
		}
		_ = response.Body.Close()
		text := strings.Join(event, "\n")
		if !strings.Contains(text, want) || strings.Contains(text, "<html") {
			t.Errorf("%s: %s", view, text)
		}
		for _, line := range event {
			if !strings.HasPrefix(line, "data: ") || strings.HasPrefix(line, "data: evil") {
				t.Errorf("%s: a line of an event is %q", view, line)
			}
		}
	}
}

package console

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

const (
	// streamLife bounds how long a viewer is authorized for; the browser asks again.
	streamLife = 5 * time.Minute

	writeTimeout = 10 * time.Second
)

// stream sends a part of a page again and again, as server-sent events.
func (c *console) stream(w http.ResponseWriter, r *http.Request) error {
	fragment, ok := map[string]func(*snapshot, *http.Request) any{
		"overview":   func(s *snapshot, _ *http.Request) any { return s },
		"outbox":     func(s *snapshot, _ *http.Request) any { return s },
		"partitions": func(s *snapshot, r *http.Request) any { return partitionsOf(s, r) },
	}[r.Form.Get("view")]
	if !ok {
		return badForm("there is no such view")
	}
	viewer, ok := c.live.join(r.Context())
	if !ok {
		w.Header().Set("Retry-After", "60")
		c.fail(w, r, http.StatusServiceUnavailable, "Too many pages are open.")

		return nil
	}
	defer c.live.leave(viewer)
	w.Header().Set("Content-Type", "text/event-stream")
	end := time.NewTimer(streamLife)
	defer end.Stop()
	for {
		select {
		case s := <-viewer:
			if err := c.send(w, "live-"+r.Form.Get("view"), fragment(s, r)); err != nil {
				return nil // The viewer is away.
			}
		case <-end.C:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}

// send sends an event whose data are a template's.
func (c *console) send(w http.ResponseWriter, name string, data any) error {
	var b bytes.Buffer
	if err := fragments.ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("make the fragment: %w", err)
	}
	control := http.NewResponseController(w)
	if err := control.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("bound the time to write: %w", err)
	}
	text := strings.NewReplacer("\r", " ", "\n", "\ndata: ").Replace(strings.TrimSpace(b.String()))
	if _, err := io.WriteString(w, "data: "+text+"\n\n"); err != nil {
		return fmt.Errorf("send the event: %w", err)
	}

	return control.Flush()
}

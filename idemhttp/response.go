package idemhttp

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/nova-events/idempotent-consumer/lease"
)

// messageType is the type of a stored response: an HTTP/1.1 message, with headers and body. Operators can write one.
const messageType = "application/http"

// unset is stored of a header that the handler has set to nil, so that net/http does not add it.
var unset = []string{""}

// response is what the handler answers. It is kept until it is stored. If it gets too large for that, it is passed on to
// the client while the handler writes.
type response struct {
	to  http.ResponseWriter
	max int // of the body

	header   http.Header // that the handler sees; trailers may come after the response
	status   int         // 0: not begun
	sent     http.Header // header, when the response began
	body     bytes.Buffer
	passedOn bool
}

func newResponse(to http.ResponseWriter, maxBytes int) *response {
	return &response{to: to, max: maxBytes, header: to.Header().Clone()}
}

func (r *response) Header() http.Header { return r.header }

func (r *response) WriteHeader(status int) {
	switch {
	case status < 100 || status > 999:
		panic(fmt.Sprintf("idemhttp: the handler wrote the status %d", status)) // As net/http does, but before it is stored.
	case status < http.StatusOK || r.status != 0: // Those of 1xx come before the response.
	default:
		r.status, r.sent = status, r.header.Clone()
	}
}

func (r *response) Write(p []byte) (int, error) {
	r.WriteHeader(http.StatusOK)
	switch {
	case r.status == http.StatusNoContent || r.status == http.StatusNotModified:
		return 0, http.ErrBodyNotAllowed
	case !r.passedOn && r.body.Len()+len(p) > r.max:
		// Without its length the client can tell whether it has all of it: the end comes when the request is completed.
		r.sent.Del("Content-Length")
		r.begin()
		r.passedOn = true
	}
	if r.passedOn {
		return r.to.Write(p)
	}

	return r.body.Write(p)
}

// begin sends the client what there is.
func (r *response) begin() {
	clear(r.to.Header())
	maps.Copy(r.to.Header(), r.sent)
	r.to.WriteHeader(r.status)
	_, _ = r.to.Write(r.body.Bytes()) // If it fails the client has gone.
}

// end sends the client the rest.
func (r *response) end() {
	if !r.passedOn {
		r.begin()
	}
	maps.Copy(r.to.Header(), r.header) // Of these, trailers alone are sent.
}

// result is what is stored: the response with the headers of the list. It is empty if it is too large.
func (r *response) result(headers []string, maxBytes int) lease.Result {
	if r.passedOn {
		return lease.Result{}
	}
	stored := http.Response{
		StatusCode: r.status, ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{},
		Body: io.NopCloser(bytes.NewReader(r.body.Bytes())), ContentLength: int64(r.body.Len()),
	}
	copyHeaders(stored.Header, r.sent, headers)
	maps.DeleteFunc(stored.Header, func(_ string, values []string) bool { return slices.ContainsFunc(values, isNoHeader) })
	for name, values := range stored.Header {
		if len(values) == 0 {
			stored.Header[name] = unset
		}
	}
	var message bytes.Buffer
	_ = stored.Write(&message) // Nothing of it can fail.
	if message.Len() > maxBytes {
		return lease.Result{}
	}

	return lease.Result{ContentType: messageType, Body: message.Bytes()}
}

// isNoHeader reports whether a message with a header of this value could not be read again. (A line break is written as a
// space.)
func isNoHeader(value string) bool {
	return strings.ContainsFunc(value, func(c rune) bool { return c < ' ' && !strings.ContainsRune("\t\r\n", c) || c == 0x7f })
}

// replay answers with a stored result. It reports false if there is no response in it.
func replay(w http.ResponseWriter, result lease.Result, headers []string) bool {
	status, header, body := http.StatusOK, http.Header{"Content-Type": {result.ContentType}}, result.Body
	switch {
	case len(result.Body) == 0:
		return false
	case result.ContentType == messageType:
		stored, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(result.Body)), nil)
		if err != nil {
			return false
		}
		defer stored.Body.Close() //nolint:errcheck // It is in memory.
		if body, err = io.ReadAll(stored.Body); err != nil || stored.StatusCode < http.StatusOK {
			return false
		}
		status, header = stored.StatusCode, stored.Header
	}
	for name, values := range header {
		if slices.Equal(values, unset) {
			header[name] = nil
		}
	}
	copyHeaders(w.Header(), header, headers)
	w.Header().Set(ReplayedHeader, "true")
	w.WriteHeader(status)
	_, _ = w.Write(body) // If it fails the client has gone.

	return true
}

// copyHeaders copies the headers of the names, which are canonical; those that a handler writes need not be, and one can have several
// spellings.
func copyHeaders(to, from http.Header, names []string) {
	copied := http.Header{}
	for _, spelled := range slices.Sorted(maps.Keys(from)) {
		if name := textproto.CanonicalMIMEHeaderKey(spelled); slices.Contains(names, name) {
			copied[name] = append(copied[name], from[spelled]...)
		}
	}
	maps.Copy(to, copied)
}

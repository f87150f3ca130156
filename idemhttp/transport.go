package idemhttp

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/google/uuid"

	"github.com/nova-events/idempotent-consumer/internal/backoff"
)

// DefaultRetries is how often a Transport by default sends a request again whose connection was lost.
const DefaultRetries = 3

// minPause is the least between two requests.
const minPause = 100 * time.Millisecond

// maxDrained is how much of a response that is not wanted is read, so that its connection can be used again.
const maxDrained = 64 << 10

// Transport is a client's http.RoundTripper that sends an Idempotency-Key with each POST and PATCH: the one that the
// request has, else that of its context (WithKey), else a new one (a UUID of version 7).
//
// It sends the request again, with the same key, if the connection was lost, and if the answer is 409 with Retry-After,
// which it waits for until the request's context ends. So give requests a deadline, or http.Client a Timeout. A request
// whose body cannot be sent again (http.Request.GetBody) is sent once.
//
// What it has given up, the caller can send again: with the same key, which WithKey is for. The zero value is ready for
// use.
type Transport struct {
	// Base sends the requests. Default: http.DefaultTransport.
	Base http.RoundTripper

	// Retries is how often a request is sent again after its connection was lost. Default: DefaultRetries; negative
	// is never.
	Retries int
}

// WithKey returns a context whose requests have a key, of 1 to 255 characters of printable ASCII. Use it for one request
// and its repetitions.
func WithKey(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, keyKey{}, key)
}

type keyKey struct{}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	if r.Method != http.MethodPost && r.Method != http.MethodPatch || r.Header == nil { // Without headers it is an error of base.
		return base.RoundTrip(r)
	}
	request := r.Clone(r.Context())
	if len(r.Header.Values(KeyHeader)) == 0 {
		key, err := newKey(r.Context())
		if err != nil {
			closeBody(r)

			return nil, err
		}
		request.Header.Set(KeyHeader, quote(key))
	}

	return t.send(base, request)
}

func newKey(ctx context.Context) (string, error) {
	if key, given := ctx.Value(keyKey{}).(string); given {
		if err := checkKey(key); err != nil {
			return "", fmt.Errorf("idemhttp: the key of the context is not valid: %w", err)
		}

		return key, nil
	}
	id, err := uuid.NewV7()
	if err != nil {
		return "", fmt.Errorf("idemhttp: make a key: %w", err)
	}

	return id.String(), nil
}

// send sends the request until there is an answer.
func (t *Transport) send(base http.RoundTripper, r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	pauses := backoff.Exponential{Initial: minPause, Max: time.Second}
	retries := t.Retries
	if retries == 0 {
		retries = DefaultRetries
	}
	for lost := 0; ; {
		response, err := base.RoundTrip(r)
		pause, inProgress := retryAfter(response)
		if err != nil {
			lost++
			pause = pauses.LongPause(lost)
		}
		pause = max(pause, minPause)
		deadline, limited := ctx.Deadline()
		switch {
		case err == nil && !inProgress, err != nil && lost > retries, ctx.Err() != nil, limited && time.Until(deadline) <= pause:
			return response, err
		}
		again, ok := repeated(r)
		if !ok {
			return response, err
		}
		r = again
		if response != nil {
			_, _ = io.CopyN(io.Discard, response.Body, maxDrained)
			_ = response.Body.Close()
		}
		if !backoff.Sleep(ctx, pause) {
			closeBody(r)

			return nil, context.Cause(ctx)
		}
	}
}

// repeated returns the request with its body from the beginning.
func repeated(r *http.Request) (*http.Request, bool) {
	again := r.Clone(r.Context())
	switch {
	case r.Body == nil || r.Body == http.NoBody:
		return again, true
	case r.GetBody == nil:
		return nil, false
	}
	body, err := r.GetBody()
	again.Body = body

	return again, err == nil
}

// retryAfter reports whether a response says that its request is in progress, and when to come again.
func retryAfter(response *http.Response) (time.Duration, bool) {
	if response == nil || response.StatusCode != http.StatusConflict {
		return 0, false
	}
	value := response.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(value, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second, true
	}
	if at, err := http.ParseTime(value); err == nil {
		return max(0, time.Until(at)), true
	}

	return 0, false
}

func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
}

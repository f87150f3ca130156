package idemhttp

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/lease"
)

// patience is how long a request waits for PostgreSQL, before the handler runs and again behind it. Then its context ends, and with
// that, before long, all that a lease does.
const patience = 10 * time.Second

// New returns a middleware for handlers whose requests have an Idempotency-Key. Place it behind authentication, which
// Config.Scope needs, and before anything that reads bodies. Errors wrap idem.ErrInvalidConfig.
//
// The handler gets the lease's attempt by AttemptFrom. Its context does not end when the client goes away, so that the
// client can get the response with its next request; it ends at the deadline of the request's context, and when the lease
// is lost. A panic of the handler goes on; nobody knows then whether it took effect.
func New(leases *lease.Leases, config Config) (func(http.Handler) http.Handler, error) {
	if leases == nil {
		return nil, fmt.Errorf("%w: the Leases are nil", idem.ErrInvalidConfig)
	}
	config = config.withDefaults()
	if err := config.validate(); err != nil {
		return nil, err
	}

	return func(next http.Handler) http.Handler {
		return &middleware{config: config, leases: leases, next: next}
	}, nil
}

type middleware struct {
	config Config
	leases *lease.Leases
	next   http.Handler
}

// AttemptFrom returns the attempt in which a handler runs, by the context of its request: for steps, keys for other
// systems, and writes in the transaction that completes the request (lease.Attempt.InTx). There is none if the request
// has no key.
func AttemptFrom(ctx context.Context) (*lease.Attempt, bool) {
	a, ok := ctx.Value(attemptKey{}).(*lease.Attempt)

	return a, ok
}

type attemptKey struct{}

func (m *middleware) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rule := m.rule(r)
	key, err := parseKey(r.Header.Values(KeyHeader))
	switch {
	case rule == KeyIgnored || rule == KeyOptional && errors.Is(err, errNoKey):
		m.next.ServeHTTP(w, r)
	case errors.Is(err, errNoKey):
		keyMissing().write(w)
	case err != nil:
		keyInvalid(err).write(w)
	default:
		m.serve(w, r, key)
	}
}

func (m *middleware) rule(r *http.Request) KeyRule {
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace:
		return KeyIgnored
	default:
		return m.config.Key(r)
	}
}

// serve answers a request with a key.
func (m *middleware) serve(w http.ResponseWriter, r *http.Request, key string) {
	scope, err := m.config.Scope(r)
	if err != nil || scope == "" {
		m.config.Logger.WarnContext(r.Context(), "idemhttp: a request with a key has no scope", "error", err)
		noScope().write(w)

		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, m.config.MaxRequestBytes))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		tooLarge().write(w)
	case err != nil:
		unreadable().write(w)
	default:
		m.once(w, r, EventID(scope, key), body)
	}
}

// once runs the handler, or answers with what is known of the request.
func (m *middleware) once(w http.ResponseWriter, r *http.Request, eventID string, body []byte) {
	if attempt, within := AttemptFrom(r.Context()); within && attempt.EventID == eventID { // Another middleware has begun it.
		m.next.ServeHTTP(w, withBody(r.Context(), r, body))

		return
	}
	log := m.config.Logger.With("event_id", eventID)
	if len(body) == 0 && (len(r.PostForm) > 0 || r.MultipartForm != nil) { // The handler would get it, and the fingerprint would not.
		log.Error("idemhttp: a form was parsed before the middleware, which cannot tell it from another one: place it before what parses forms")
		formParsed().write(w)

		return
	}
	ctx, cancel := outliving(r.Context())
	defer cancel()
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	waiting := time.AfterFunc(m.config.Wait+patience, func() { giveUp(errPatience) })
	defer waiting.Stop()

	var answer *response
	done, err := m.leases.Do(ctx, eventID, func(ctx context.Context, a *lease.Attempt) (lease.Result, error) {
		waiting.Stop()
		defer waiting.Reset(patience)
		answer = newResponse(w, m.leases.MaxResultBytes())
		request := withBody(context.WithValue(ctx, attemptKey{}, a), r, body)
		defer removeFiles(request)
		m.next.ServeHTTP(answer, request)
		answer.WriteHeader(http.StatusOK) // Unless it has written another.

		return m.judge(answer)
	}, lease.WithFingerprint(m.fingerprint(r, body)), lease.Wait(m.config.Wait))

	switch found, fits := m.problem(log, eventID, answer != nil, err); {
	case fits && answer != nil && answer.passedOn:
		panic(http.ErrAbortHandler) // The client has a part of a response that does not count.
	case fits:
		found.write(w)
	case answer != nil:
		answer.end()
	case !replay(w, done.Result, m.config.ReplayHeaders):
		responseNotStored().write(w)
	}
}

// withBody returns the request with a body that was read.
func withBody(ctx context.Context, r *http.Request, body []byte) *http.Request {
	r = r.WithContext(ctx)
	r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil

	return r
}

// removeFiles removes those of a form that the handler has parsed. net/http removes those of its own request alone.
func removeFiles(r *http.Request) {
	if r.MultipartForm != nil {
		_ = r.MultipartForm.RemoveAll()
	}
}

var errPatience = errors.New("idemhttp: PostgreSQL does not answer")

// statusError ends an attempt whose response is not to be stored.
type statusError struct{ status int }

func (e *statusError) Error() string {
	return fmt.Sprintf("idemhttp: the handler answered %d %s", e.status, http.StatusText(e.status))
}

func (m *middleware) judge(answer *response) (lease.Result, error) {
	verdict := m.config.Verdict(answer.status)
	if answer.status == http.StatusTooManyRequests && verdict == Store {
		verdict = Release
	}
	switch verdict {
	case Release:
		return lease.Result{}, &statusError{answer.status}
	case Unknown:
		return lease.Result{}, lease.Unknown(&statusError{answer.status})
	default:
		return answer.result(m.config.ReplayHeaders, m.leases.MaxResultBytes()), nil
	}
}

// problem is what to answer in place of a response of the handler.
func (m *middleware) problem(log *slog.Logger, eventID string, ran bool, err error) (found problem, fits bool) {
	var (
		busy   *lease.InProgressError
		lost   *lease.LostError
		open   *lease.UndecidedError
		failed *lease.FailedError
	)
	switch {
	case err == nil:
		return problem{}, false
	case errors.As(err, &busy) && busy.EventID == eventID: // Else it is one of another lease, which Ask or a write of Attempt.InTx has asked.
		return inProgress(busy.RetryAfter), true
	case !ran && errors.As(err, new(*idem.CollisionError)):
		return keyReused(), true
	case errors.As(err, &lost) && lost.EventID == eventID: // As above.
		found = inProgress(0)
	case errors.As(err, new(*statusError)):
		if lease.IsUnknown(err) {
			log.Warn("idemhttp: nobody knows whether a request took effect", "error", err)
		}

		return problem{}, false
	case errors.As(err, &open) && open.EventID == eventID:
		found = undecided()
	case errors.As(err, &failed) && failed.EventID == eventID:
		found = outcomeUnknown(failed.RetryAfter)
	case ran:
		found = outcomeUnknown(0)
	default:
		found = unavailable()
	}
	log.Warn("idemhttp: a request was not completed", "status", found.Status, "type", found.Type, "error", err)

	return found, true
}

// fingerprint tells requests with one key apart. It is as wide as that of an event, 63 bits: a client can find two
// requests that it does not tell apart, but all it gets by them is its own response.
func (m *middleware) fingerprint(r *http.Request, body []byte) idem.Fingerprint {
	var b []byte
	for _, part := range []string{r.Method, cmp.Or(r.RequestURI, r.URL.RequestURI())} { // Of RequestURI no handler has stripped anything.
		b = appendPart(b, part)
	}
	for _, name := range m.config.FingerprintHeaders {
		values := r.Header[name]
		if name == "Host" { // net/http has taken it out.
			values = []string{r.Host}
		}
		b = appendPart(b, strings.Join(values, "\x00"))
	}

	return idem.FingerprintOf(appendPart(b, body))
}

// outliving returns a context that goes on when the client has gone, but not beyond the deadline that somebody has set.
func outliving(ctx context.Context) (context.Context, context.CancelFunc) {
	longer := context.WithoutCancel(ctx)
	if deadline, limited := ctx.Deadline(); limited {
		return context.WithDeadline(longer, deadline)
	}

	return longer, func() {}
}

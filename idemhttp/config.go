package idemhttp

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/http"
	"net/textproto"
	"slices"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/boundedlog"
)

// DefaultMaxRequestBytes is how long the body of a request may be by default.
const DefaultMaxRequestBytes = 1 << 20

// maxWait bounds Config.Wait, far from what does not fit in a time.Duration.
const maxWait = 24 * time.Hour

// Config describes a middleware. Scope is required, the rest has defaults.
type Config struct {
	// Scope says whose request it is: a tenant, an account, a user. Equal keys of different scopes have nothing to
	// do with each other. Take it from what authentication has verified, never from what any client can write.
	// After an error or an empty scope the answer is 403. Required.
	Scope func(r *http.Request) (string, error)

	// Key says whether a request needs a key. GET, HEAD, OPTIONS and TRACE pass without being asked about. Default:
	// POST and PATCH require one, others ignore it.
	Key func(r *http.Request) KeyRule

	// Verdict says what becomes of a response of the handler, by its status. A response of status 429 is never
	// stored. Default: DefaultVerdict.
	Verdict func(status int) Verdict

	// FingerprintHeaders are the headers in which a repeated request may not differ, besides method, path, query
	// and body. Host is one. Default: Content-Type.
	FingerprintHeaders []string

	// ReplayHeaders are the headers that are stored with a response. Set-Cookie, those of authentication, and
	// those of the connection are refused. Default: Content-Disposition, Content-Encoding, Content-Language,
	// Content-Type, ETag, Last-Modified, Link and Location.
	ReplayHeaders []string

	// MaxRequestBytes bounds the body of a request with a key, which is held in memory. For a longer one the
	// answer is 413. Default 1 MiB. How long responses may be is lease.Config.MaxResultBytes.
	MaxRequestBytes int64

	// Wait is how long a request waits for another one with its key, before the answer is 409. At most a day. Default: it
	// does not wait.
	Wait time.Duration

	// Logger gets what the client is not told: the errors behind 403, 409 and 503. Default: slog.Default;
	// slog.New(slog.DiscardHandler) is silence.
	Logger *slog.Logger
}

// KeyRule says whether a request needs a key. The zero value is KeyRequired.
type KeyRule uint8

const (
	// KeyRequired has the answer 400 for a request without a key.
	KeyRequired KeyRule = iota
	// KeyOptional passes a request without a key to the handler as if there were no middleware.
	KeyOptional
	// KeyIgnored passes all requests to the handler as if there were no middleware.
	KeyIgnored
)

// Verdict says what becomes of a response of the handler. The client gets it in any case. The zero value is Store.
type Verdict uint8

const (
	// Store completes the request: each repetition gets this response.
	Store Verdict = iota
	// Release says that the handler has done nothing: a repetition runs it again, and the request may be corrected.
	// What Attempt.InTx has added is not written.
	Release
	// Unknown says that nobody knows whether the handler took effect: lease.Config.Unknown decides about the next
	// one.
	Unknown
)

// DefaultVerdict stores 2xx and 3xx, releases 4xx, and takes 5xx for unknown.
//
// A handler that answers 4xx must not have taken effect. If some of its refusals are results, such as a declined card
// (402), have Config.Verdict store those. Stripe stores 5xx: that is as safe, but the key is of no use from then on,
// and a client that takes another may do the same thing a second time.
func DefaultVerdict(status int) Verdict {
	switch {
	case status >= http.StatusInternalServerError:
		return Unknown
	case status >= http.StatusBadRequest:
		return Release
	default:
		return Store
	}
}

func defaultKey(r *http.Request) KeyRule {
	if r.Method == http.MethodPost || r.Method == http.MethodPatch {
		return KeyRequired
	}

	return KeyIgnored
}

var (
	defaultFingerprintHeaders = []string{"Content-Type"}
	defaultReplayHeaders      = []string{
		"Content-Disposition", "Content-Encoding", "Content-Language", "Content-Type", "Etag", "Last-Modified", "Link", "Location",
	}

	// neverReplayed are headers that belong to one client, to one connection, or to this package.
	neverReplayed = []string{
		"Authorization", "Authentication-Info", "Proxy-Authorization", "Proxy-Authenticate", "Proxy-Authentication-Info", "Www-Authenticate", "Set-Cookie", "Set-Cookie2", "Cookie",
		"Connection", "Keep-Alive", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
		"Content-Length", ReplayedHeader,
	}
)

func (c Config) withDefaults() Config {
	if c.Key == nil {
		c.Key = defaultKey
	}
	if c.Verdict == nil {
		c.Verdict = DefaultVerdict
	}
	if c.FingerprintHeaders == nil {
		c.FingerprintHeaders = defaultFingerprintHeaders
	}
	if c.ReplayHeaders == nil {
		c.ReplayHeaders = defaultReplayHeaders
	}
	c.FingerprintHeaders, c.ReplayHeaders = canonical(c.FingerprintHeaders), canonical(c.ReplayHeaders)
	c.MaxRequestBytes = cmp.Or(c.MaxRequestBytes, DefaultMaxRequestBytes)
	c.Logger = boundedlog.New(c.Logger)

	return c
}

func (c Config) validate() error {
	switch {
	case c.Scope == nil:
		return fmt.Errorf("%w: Scope is not set: without it a client could get another one's responses", idem.ErrInvalidConfig)
	case c.MaxRequestBytes < 0:
		return fmt.Errorf("%w: MaxRequestBytes is negative (%d)", idem.ErrInvalidConfig, c.MaxRequestBytes)
	case c.Wait < 0 || c.Wait > maxWait:
		return fmt.Errorf("%w: Wait is %v; use 0 to %v", idem.ErrInvalidConfig, c.Wait, maxWait)
	}
	for _, name := range c.ReplayHeaders {
		if slices.Contains(neverReplayed, name) {
			return fmt.Errorf("%w: ReplayHeaders has %s, which must not be stored", idem.ErrInvalidConfig, name)
		}
	}

	return nil
}

func canonical(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = textproto.CanonicalMIMEHeaderKey(name)
	}

	return all
}

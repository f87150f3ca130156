package console

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
)

const (
	maxURL  = 8 << 10
	maxForm = 64 << 10

	// pageTimeout is how long a page may take, the doctor's with Kafka too.
	pageTimeout = 45 * time.Second
)

// headers are those of every answer. A referrer policy that hides the origin from the console itself would have
// browsers hide it from the check of cross-origin requests.
var headers = map[string]string{
	"Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
	"X-Content-Type-Options":       "nosniff",
	"X-Frame-Options":              "DENY",
	"Referrer-Policy":              "same-origin",
	"Cross-Origin-Opener-Policy":   "same-origin",
	"Cross-Origin-Resource-Policy": "same-origin",
	"Cache-Control":                "no-store",
}

// secure refuses what no page of the console sends.
func (c *console) secure(next http.Handler) http.Handler {
	origins := http.NewCrossOriginProtection()

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range headers {
			w.Header().Set(name, value)
		}
		r.Body = http.MaxBytesReader(w, r.Body, maxForm)
		switch {
		case !c.knownHost(r):
			c.refuse(w, r, http.StatusMisdirectedRequest, "The console is not known by this host name. Config.Hosts lists those that it is known by.")
		case origins.Check(r) != nil || embedded(r):
			c.refuse(w, r, http.StatusForbidden, "Another site sent this request.")
		case len(r.URL.RequestURI()) > maxURL:
			c.refuse(w, r, http.StatusRequestURITooLong, "The address is too long.")
		case r.ParseForm() != nil:
			c.refuse(w, r, http.StatusBadRequest, "The form cannot be read, or is too large.")
		default:
			next.ServeHTTP(w, r)
		}
	})
}

// embedded reports whether a page of another site loads this one as a part of itself, such as a stream or an image.
func embedded(r *http.Request) bool {
	site := r.Header.Get("Sec-Fetch-Site")

	return (site == "cross-site" || site == "same-site") && r.Header.Get("Sec-Fetch-Mode") != "navigate"
}

// knownHost keeps out pages whose own name leads to this machine (DNS rebinding): to the browser they are of one origin
// with the console.
func (c *console) knownHost(r *http.Request) bool {
	host := r.Host
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	host = strings.Trim(host, "[]")
	if len(c.Hosts) > 0 {
		return slices.ContainsFunc(c.Hosts, func(known string) bool { return strings.EqualFold(known, host) })
	}
	address, err := netip.ParseAddr(host)
	if local, ok := r.Context().Value(http.LocalAddrContextKey).(net.Addr); !ok || !isLoopback(local.String()) {
		return err == nil || c.Token != ""
	}

	return strings.EqualFold(host, "localhost") || err == nil && address.IsLoopback()
}

func isLoopback(address string) bool {
	parsed, err := netip.ParseAddrPort(address)

	return err == nil && parsed.Addr().Unmap().IsLoopback()
}

// refuse answers with one sentence, before anything is known of who asks.
func (c *console) refuse(w http.ResponseWriter, r *http.Request, status int, reason string) {
	c.Logger.WarnContext(r.Context(), "console: request refused", "status", status, "reason", reason,
		"method", r.Method, "host", r.Host, "path", r.URL.Path, "remote", r.RemoteAddr)
	http.Error(w, reason, status)
}

// userKey is that of the User in the context of a request.
type userKey struct{}

func userOf(ctx context.Context) User {
	user, _ := ctx.Value(userKey{}).(User)

	return user
}

// authorized calls the page as the user who asks for it, within the time of a page.
func (c *console) authorized(w http.ResponseWriter, r *http.Request, p page) {
	user, err := c.Authorize(r)
	if err != nil {
		c.Logger.WarnContext(r.Context(), "console: not authorized", "error", err, "path", r.URL.Path, "remote", r.RemoteAddr)
	}
	if err != nil || p.changes && !user.Change {
		c.fail(w, r, http.StatusForbidden, "You may not do this.")

		return
	}
	ctx := context.WithValue(r.Context(), userKey{}, user)
	if !p.endless {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, pageTimeout)
		defer cancel()
	}
	if err := p.show(w, r.WithContext(ctx)); err != nil {
		c.explain(w, r.WithContext(ctx), err)
	}
}

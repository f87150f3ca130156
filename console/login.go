package console

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	sessionCookie = "idem_console"
	sessionLife   = 12 * time.Hour
)

// logIn asks for the token, if there is one. A session is a signed time of its end: it needs no memory, and ends with
// the process.
func (c *console) logIn(next http.Handler) http.Handler {
	if c.Token == "" {
		return next
	}
	s := sessions{token: sha256.Sum256([]byte(c.Token))}
	_, _ = rand.Read(s.key[:]) // It never fails.

	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case isAsset(r):
			next.ServeHTTP(w, r)
		case r.Method == http.MethodPost && r.URL.Path == "/login":
			c.begin(w, r, s)
		case r.Method == http.MethodPost && r.URL.Path == "/logout":
			setSession(w, r, "", -1)
			seeOther(w, "./")
		case s.has(r):
			next.ServeHTTP(w, r)
		default:
			c.render(w, r, http.StatusUnauthorized, "login", loginData{})
		}
	})
}

type loginData struct{ Wrong bool }

// begin begins a session for who knows the token.
func (c *console) begin(w http.ResponseWriter, r *http.Request, s sessions) {
	if !s.known(r.PostForm.Get("token")) {
		c.Logger.WarnContext(r.Context(), "console: wrong token", "remote", r.RemoteAddr)
		c.render(w, r, http.StatusUnauthorized, "login", loginData{Wrong: true})

		return
	}
	setSession(w, r, s.sign(time.Now().Add(sessionLife)), int(sessionLife.Seconds()))
	seeOther(w, "./")
}

func setSession(w http.ResponseWriter, r *http.Request, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ //nolint:gosec // Secure as far as the connection is: on localhost there is no TLS.
		Name: sessionCookie, Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true, Secure: r.TLS != nil, SameSite: http.SameSiteStrictMode,
	})
}

// sessions knows the token, by its hash, and signs cookies with a key of its own.
type sessions struct{ token, key [sha256.Size]byte }

func (s sessions) known(token string) bool {
	hash := sha256.Sum256([]byte(token))

	return subtle.ConstantTimeCompare(hash[:], s.token[:]) == 1
}

func (s sessions) sign(end time.Time) string {
	text := strconv.FormatInt(end.Unix(), 10)

	return text + "." + s.signature(text)
}

func (s sessions) signature(text string) string {
	mac := hmac.New(sha256.New, s.key[:])
	_, _ = mac.Write([]byte(text)) // It never fails.

	return hex.EncodeToString(mac.Sum(nil))
}

// has reports whether a request comes with the token or in a session.
func (s sessions) has(r *http.Request) bool {
	if token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		return s.known(token)
	}
	cookie, err := r.Cookie(sessionCookie)
	if err != nil {
		return false
	}
	text, signature, _ := strings.Cut(cookie.Value, ".")
	end, err := strconv.ParseInt(text, 10, 64)

	return err == nil && time.Now().Unix() < end && hmac.Equal([]byte(signature), []byte(s.signature(text)))
}

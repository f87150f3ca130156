package console

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"strings"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/ops"
)

// page is what answers a request.
type page struct {
	show    func(http.ResponseWriter, *http.Request) error
	changes bool // or leads to a change: only for those who may
	endless bool // it ends when its viewer leaves
}

// route finds the page by its whole path. There are no folders, so that pages can link to each other wherever the
// console is mounted.
func (c *console) route(w http.ResponseWriter, r *http.Request) {
	if isAsset(r) {
		assets.ServeHTTP(w, r)

		return
	}
	method := r.Method
	if method == http.MethodHead {
		method = http.MethodGet
	}
	p, ok := c.pages()[method+" "+r.URL.Path]
	if !ok || p.endless && r.Method == http.MethodHead {
		c.fail(w, r, http.StatusNotFound, "There is no such page.")

		return
	}
	c.authorized(w, r, p)
}

func (c *console) pages() map[string]page {
	return map[string]page{
		"GET /":                     {show: c.overview},
		"GET /live":                 {show: c.stream, endless: true},
		"GET /consumers":            {show: c.consumers},
		"GET /consumer":             {show: c.consumer},
		"GET /retention":            {show: c.planRetention, changes: true},
		"POST /retention":           {show: c.setRetention, changes: true},
		"POST /pause":               {show: c.pause, changes: true},
		"POST /resume":              {show: c.resume, changes: true},
		"GET /partitions":           {show: c.partitions},
		"GET /deadletters":          {show: c.deadLetters},
		"GET /deadletter":           {show: c.deadLetter},
		"GET /deadletters-replay":   {show: c.planDeadLetters(replay), changes: true},
		"POST /deadletters-replay":  {show: c.changeDeadLetters(replay), changes: true},
		"GET /deadletters-discard":  {show: c.planDeadLetters(discard), changes: true},
		"POST /deadletters-discard": {show: c.changeDeadLetters(discard), changes: true},
		"GET /leases":               {show: c.leases},
		"GET /lease":                {show: c.lease},
		"GET /lease-took-effect":    {show: c.planDecision(true), changes: true},
		"POST /lease-took-effect":   {show: c.completeLease, changes: true},
		"GET /lease-rerun":          {show: c.planDecision(false), changes: true},
		"POST /lease-rerun":         {show: c.rerunLease, changes: true},
		"GET /outbox":               {show: c.outbox},
		"GET /outboxrecord":         {show: c.outboxRecord},
		"GET /outbox-retry":         {show: c.planOutbox(retryRecords), changes: true},
		"POST /outbox-retry":        {show: c.changeOutbox(retryRecords), changes: true},
		"GET /outbox-discard":       {show: c.planOutbox(discardRecords), changes: true},
		"POST /outbox-discard":      {show: c.changeOutbox(discardRecords), changes: true},
		"GET /event":                {show: c.event},
		"GET /doctor":               {show: c.diagnose},
	}
}

//go:embed assets
var assetFiles embed.FS

var assets = serveAssets()

func serveAssets() http.Handler {
	folder, err := fs.Sub(assetFiles, "assets")
	if err != nil {
		panic(err) // It is embedded.
	}

	return http.FileServerFS(folder)
}

// isAsset reports whether a request is for one of the files that everybody may see.
func isAsset(r *http.Request) bool {
	switch r.URL.Path {
	case "/style.css", "/console.js", "/icon.svg":
		return r.Method == http.MethodGet || r.Method == http.MethodHead
	default:
		return false
	}
}

// seeOther leads to another page by a relative address: where the console is mounted only the browser knows.
func seeOther(w http.ResponseWriter, address string) {
	w.Header().Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
}

// explain answers with what went wrong. What is not about the request itself is logged, and told only in so far as the
// server of the database says it.
func (c *console) explain(w http.ResponseWriter, r *http.Request, err error) {
	var (
		form    formError
		refused interface {
			error
			SQLState() string
		}
	)
	switch {
	case errors.Is(err, ops.ErrInvalid), errors.As(err, &form):
		c.fail(w, r, http.StatusUnprocessableEntity, sentence(err))
	case errors.Is(err, ops.ErrUnknownConsumer), errors.Is(err, ops.ErrUnknownDeadLetter), errors.Is(err, ops.ErrUnknownLease), errors.Is(err, ops.ErrUnknownEvent):
		c.fail(w, r, http.StatusNotFound, sentence(err))
	case errors.Is(err, idem.ErrConsumerClosed), errors.Is(err, ops.ErrLeaseRuns), errors.Is(err, ops.ErrChanged):
		c.fail(w, r, http.StatusConflict, sentence(err))
	case errors.As(err, &refused) && refused.SQLState() == "42501":
		c.Logger.WarnContext(r.Context(), "console: PostgreSQL denied a statement", "path", r.URL.Path, "error", err)
		c.fail(w, r, http.StatusForbidden, sentence(refused)+" "+neededRights)
	case errors.As(err, &refused):
		c.Logger.ErrorContext(r.Context(), "console: PostgreSQL refused a statement", "path", r.URL.Path, "error", err)
		c.fail(w, r, http.StatusInternalServerError, sentence(refused)) // What is around it may name the server's address.
	default:
		c.Logger.ErrorContext(r.Context(), "console: page failed", "path", r.URL.Path, "error", err)
		c.fail(w, r, http.StatusServiceUnavailable, "PostgreSQL could not be asked. The log of the console says why.")
	}
}

// neededRights is what to grant where the role of the console's connection lacks a right.
const neededRights = "Grant the role of the console's connection what \"idemctl migrate print --grants ROLE\" prints; to pause and resume, besides, " +
	"UPDATE (paused_at, paused_by, pause_reason) ON idem.consumers. A retention is changed by the role that owns the tables."

// sentence is an error's text as a page shows it.
func sentence(err error) string {
	text := err.Error()

	return strings.ToUpper(text[:1]) + text[1:] + "."
}

type failure struct {
	Status int
	Reason string
}

func (f failure) Title() string { return http.StatusText(f.Status) }

func (c *console) fail(w http.ResponseWriter, r *http.Request, status int, reason string) {
	c.render(w, r, status, "failure", failure{Status: status, Reason: reason})
}

// render answers with a page, whole or not at all.
func (c *console) render(w http.ResponseWriter, r *http.Request, status int, name string, data any) {
	var b bytes.Buffer
	err := templates[name].ExecuteTemplate(&b, "layout", view{Page: name, User: userOf(r.Context()), Login: c.Token != "", Data: data})
	if err != nil {
		c.Logger.ErrorContext(r.Context(), "console: page cannot be made", "page", name, "error", err)
		http.Error(w, "The page cannot be made. The log of the console says why.", http.StatusInternalServerError)

		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = b.WriteTo(w) // Who asked is away.
}

// show renders a page that is in order.
func (c *console) show(w http.ResponseWriter, r *http.Request, name string, data any) error {
	c.render(w, r, http.StatusOK, name, data)

	return nil
}

// formError is about what a form holds; its text is for people.
type formError string

func (e formError) Error() string { return string(e) }

func badForm(format string, args ...any) error { return formError(fmt.Sprintf(format, args...)) }

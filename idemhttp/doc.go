// Package idemhttp makes HTTP requests idempotent by their Idempotency-Key, as the IETF draft
// (draft-ietf-httpapi-idempotency-key-header-07) describes it. A request with a key runs once; the same request again
// gets the stored response. Behind it are the leases of package lease, with all that they promise.
//
//	leases, err := lease.New(guard, lease.Config{})
//	once, err := idemhttp.New(leases, idemhttp.Config{Scope: tenant})
//	mux.Handle("POST /payments", once(payments))
//
// # What is promised
//
//   - Of all requests with one key of one scope at most one has the handler at any time, as long as the handler obeys the
//     end of its context.
//   - Once a response is stored, within the consumer's retention, the handler does not run again for its key. Others get
//     that response, with Idempotency-Replayed: true.
//   - A key belongs to one scope, which Config.Scope has to name: no client can get the response of another.
//   - A key belongs to one request. With another method, path, query, body or Content-Type the answer is 422.
//   - Without PostgreSQL the handler does not run: the answer is 503.
//   - If nobody knows whether the handler took effect, lease.Config.Unknown decides, and never a timeout.
//
// # What is not
//
//   - The response of a request that was not completed is not stored: one whose process crashed, or that the handler
//     refused (Verdict). What another system did meanwhile is remembered there alone: have it recognize the key that
//     AttemptFrom gives, or use its steps.
//   - Responses are stored whole, not as a stream. http.Flusher and http.Hijacker are not available to the handler, and
//     http.ResponseController says http.ErrNotSupported.
//
// docs/http.md has what a client sees: the statuses and the expiry of keys, which the draft wants to be published.
//
// Transport is the other side, a client that sends keys. Package idemhttptest tests servers.
package idemhttp

// Package idemhttptest tests servers that take an Idempotency-Key: whether they do what the IETF draft
// (draft-ietf-httpapi-idempotency-key-header-07) says, and what a client needs besides. It is not about package idemhttp
// alone: Run takes any middleware.
package idemhttptest

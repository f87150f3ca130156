package idemhttp

import (
	"encoding/json"
	"math"
	"net/http"
	"strconv"
	"time"
)

// The types of the problems (RFC 9457) with which the middleware answers by itself. They are the addresses of their
// documentation.
const (
	ProblemKeyMissing        = problems + "key-missing"         // 400
	ProblemKeyInvalid        = problems + "key-invalid"         // 400
	ProblemUnreadable        = problems + "unreadable"          // 400, or 500
	ProblemNoScope           = problems + "no-scope"            // 403
	ProblemTooLarge          = problems + "too-large"           // 413
	ProblemKeyReused         = problems + "key-reused"          // 422
	ProblemInProgress        = problems + "in-progress"         // 409 with Retry-After
	ProblemUndecided         = problems + "undecided"           // 409
	ProblemResponseNotStored = problems + "response-not-stored" // 409
	ProblemUnavailable       = problems + "unavailable"         // 503 with Retry-After
	ProblemOutcomeUnknown    = problems + "outcome-unknown"     // 503 with Retry-After
)

const problems = "https://github.com/nova-events/idempotent-consumer/blob/main/docs/http.md#"

// maxRetryAfter bounds what clients are told. A lease says when a crash would be noticed; most requests end earlier.
const maxRetryAfter = 5 * time.Second

// problem is an answer of the middleware itself.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail,omitempty"`

	retryAfter time.Duration // 0: none
}

// again returns the problem with a time after which the client may come again, in whole seconds.
func (p problem) again(after time.Duration) problem {
	p.retryAfter = max(time.Second, min(after, maxRetryAfter))

	return p
}

func (p problem) write(w http.ResponseWriter) {
	body, _ := json.Marshal(p) //nolint:errchkjson // Strings and a number.
	w.Header().Set("Content-Type", "application/problem+json")
	if p.retryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(p.retryAfter.Seconds()))))
	}
	w.WriteHeader(p.Status)
	_, _ = w.Write(body) // If it fails the client has gone.
}

func keyMissing() problem {
	return problem{
		Type: ProblemKeyMissing, Title: "Idempotency-Key is missing", Status: http.StatusBadRequest,
		Detail: "This operation requires an Idempotency-Key header.",
	}
}

func keyInvalid(err error) problem {
	return problem{
		Type: ProblemKeyInvalid, Title: "Idempotency-Key is not valid", Status: http.StatusBadRequest,
		Detail: "The Idempotency-Key must be one structured-field string (RFC 8941) without parameters: " + err.Error() + ".",
	}
}

func unreadable() problem {
	return problem{Type: ProblemUnreadable, Title: "The body of the request could not be read", Status: http.StatusBadRequest}
}

func formParsed() problem {
	p := unreadable()
	p.Status = http.StatusInternalServerError

	return p
}

func tooLarge() problem {
	return problem{Type: ProblemTooLarge, Title: "The body of the request is too large", Status: http.StatusRequestEntityTooLarge}
}

func noScope() problem {
	return problem{
		Type: ProblemNoScope, Title: "It is not known whose request this is", Status: http.StatusForbidden,
		Detail: "An Idempotency-Key can be used only by a client that is known.",
	}
}

func keyReused() problem {
	return problem{
		Type: ProblemKeyReused, Title: "Idempotency-Key was used for another request", Status: http.StatusUnprocessableEntity,
		Detail: "A request that differs needs a key of its own.",
	}
}

func inProgress(after time.Duration) problem {
	return problem{
		Type: ProblemInProgress, Title: "A request with this Idempotency-Key is in progress", Status: http.StatusConflict,
		Detail: "Send the same request again later.",
	}.again(after)
}

func undecided() problem {
	return problem{
		Type: ProblemUndecided, Title: "It is not known whether the request took effect", Status: http.StatusConflict,
		Detail: "The server will not carry it out again until its operator has decided. Do not send it with another key: it could take effect twice.",
	}
}

func responseNotStored() problem {
	return problem{
		Type: ProblemResponseNotStored, Title: "The request was carried out before", Status: http.StatusConflict,
		Detail: "Its response was not stored. Look up the result in another way.",
	}
}

func unavailable() problem {
	return problem{
		Type: ProblemUnavailable, Title: "Requests cannot be made idempotent at the moment", Status: http.StatusServiceUnavailable,
		Detail: "Nothing was done. Send the same request again later.",
	}.again(maxRetryAfter)
}

func outcomeUnknown(after time.Duration) problem {
	return problem{
		Type: ProblemOutcomeUnknown, Title: "The request may have taken effect", Status: http.StatusServiceUnavailable,
		Detail: "Send the same request again, with the same Idempotency-Key.",
	}.again(after)
}

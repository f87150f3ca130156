package lease

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/nova-events/idempotent-consumer/internal/tables"
)

// maxContentTypeBytes is how long a content type may be.
const maxContentTypeBytes = 255

// Result is what an effect returned. It is stored, and returned again for each duplicate within the consumer's
// retention. The zero value is an empty result.
type Result struct {
	ContentType string // at most 255 bytes of UTF-8; for the caller's own use
	Body        []byte // at most Config.MaxResultBytes
}

// check returns an error if the result cannot be stored.
func (r Result) check(maxBytes int) error {
	switch {
	case len(r.Body) > maxBytes:
		return fmt.Errorf("%w: %d bytes, %d are allowed", ErrResultTooLarge, len(r.Body), maxBytes)
	case len(r.ContentType) > maxContentTypeBytes || !tables.IsText(r.ContentType):
		return fmt.Errorf("lease: the content type of the result is not UTF-8 of at most %d bytes without NUL", maxContentTypeBytes)
	default:
		return nil
	}
}

// body is never nil, which would be null.
func (r Result) body() []byte { return append([]byte{}, r.Body...) }

const jsonType = "application/json"

// DoJSON is Leases.Do for a function with a result of its own type, which is stored as JSON. The value is also
// returned if the event was processed before.
func DoJSON[T any](ctx context.Context, l *Leases, eventID string, fn func(ctx context.Context, a *Attempt) (T, error), opts ...Option) (T, Done, error) {
	var value T
	if fn == nil {
		return value, Done{}, errNoFunction
	}
	done, err := l.Do(ctx, eventID, func(ctx context.Context, a *Attempt) (Result, error) { return toJSON(fn(ctx, a)) }, opts...)
	if err == nil {
		err = fromJSON(done.Result, &value)
	}

	return value, done, err
}

// StepJSON is Attempt.Step for a function with a result of its own type, which is stored as JSON.
func StepJSON[T any](ctx context.Context, a *Attempt, name string, fn func(ctx context.Context) (T, error)) (T, error) {
	var value T
	if fn == nil {
		return value, errNoFunction
	}
	result, err := a.Step(ctx, name, func(ctx context.Context) (Result, error) { return toJSON(fn(ctx)) })
	if err == nil {
		err = fromJSON(result, &value)
	}

	return value, err
}

// toJSON encodes what an effect returned. If that fails, the effect has happened nevertheless.
func toJSON[T any](value T, err error) (Result, error) {
	if err != nil {
		return Result{}, err
	}
	body, err := json.Marshal(value)
	if err != nil {
		return Result{}, Unknown(fmt.Errorf("lease: encode the result: %w", err))
	}

	return Result{ContentType: jsonType, Body: body}, nil
}

// fromJSON leaves the value alone if the result is empty: an operator may have had none.
func fromJSON[T any](result Result, value *T) error {
	if len(result.Body) == 0 {
		return nil
	}
	if result.ContentType != jsonType {
		return fmt.Errorf("lease: the stored result is not JSON but %q", result.ContentType)
	}
	if err := json.Unmarshal(result.Body, value); err != nil {
		return fmt.Errorf("lease: decode the stored result: %w", err)
	}

	return nil
}

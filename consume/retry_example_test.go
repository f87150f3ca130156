package consume_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/idem"
)

// A handler that asks another service says which errors pass and which never will. All others are tried
// for as long as FailureConfig.Retry says.
func ExampleTransient() {
	ask := func(status int) error {
		switch status {
		case http.StatusServiceUnavailable:
			return consume.Transient(errors.New("the service is away"))
		case http.StatusBadRequest:
			return consume.Permanent(errors.New("the service refuses the record"))
		default:
			return nil
		}
	}
	config := consume.Config{
		Failure: consume.FailureConfig{
			Retry: consume.RetryPolicy{MaxAttempts: idem.Unlimited, LongestTotal: 5 * time.Minute},
		},
		Handle: func(context.Context, pgx.Tx, consume.Message) error {
			return ask(http.StatusServiceUnavailable)
		},
	}

	err := config.Handle(context.Background(), nil, consume.Message{})
	fmt.Println(err, idem.IsTransient(err))
	// Output: the service is away true
}

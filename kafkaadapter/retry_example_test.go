package kafkaadapter_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
)

// A handler that asks another service says which errors pass and which never will. All others are tried
// for as long as Config.Retry says.
func ExampleTransient() {
	ask := func(status int) error {
		switch status {
		case http.StatusServiceUnavailable:
			return kafkaadapter.Transient(errors.New("the service is away"))
		case http.StatusBadRequest:
			return kafkaadapter.Permanent(errors.New("the service refuses the record"))
		default:
			return nil
		}
	}
	config := kafkaadapter.Config{
		Retry: kafkaadapter.RetryPolicy{MaxAttempts: idem.Unlimited, LongestTotal: 5 * time.Minute},
		Handle: func(context.Context, pgx.Tx, kafkaadapter.Message) error {
			return ask(http.StatusServiceUnavailable)
		},
	}

	err := config.Handle(context.Background(), nil, kafkaadapter.Message{})
	fmt.Println(err, idem.IsTransient(err))
	// Output: the service is away true
}

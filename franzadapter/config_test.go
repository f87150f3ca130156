package franzadapter_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/idem"
)

// Kafka's own clients refuse such names; a broker may not.
func TestInstanceIDIsChecked(t *testing.T) {
	t.Parallel()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	guard, err := idem.New(pool, idem.Config{Consumer: "c"})
	if err != nil {
		t.Fatal(err)
	}
	for id, valid := range map[string]bool{"": true, "place-1.a_B": true, "place 1": false, "é": false, strings.Repeat("a", 250): false} {
		_, err := franzadapter.New(guard, franzadapter.Config{
			Brokers: []string{"127.0.0.1:1"}, Group: "g", Topics: []string{"t"}, InstanceID: id,
		}, consume.Config{Handle: func(context.Context, pgx.Tx, consume.Message) error { return nil }})
		if valid && err != nil || !valid && (!errors.Is(err, consume.ErrInvalidConfig) || !strings.Contains(err.Error(), "InstanceID")) {
			t.Errorf("InstanceID %q: %v", id, err)
		}
	}
}

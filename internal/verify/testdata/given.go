// Package given has what fragments of code in the documentation take for granted: these imports and these names.
package given

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/segmentio/kafka-go"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/consume"
	"github.com/nova-events/idempotent-consumer/franzadapter"
	"github.com/nova-events/idempotent-consumer/health"
	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/idem/idemtest"
	"github.com/nova-events/idempotent-consumer/idemhttp"
	"github.com/nova-events/idempotent-consumer/idemotel"
	"github.com/nova-events/idempotent-consumer/kafkaadapter"
	"github.com/nova-events/idempotent-consumer/lease"
	"github.com/nova-events/idempotent-consumer/ops"
	"github.com/nova-events/idempotent-consumer/outbox"
)

var (
	ctx      context.Context
	pool     *pgxpool.Pool
	tx       pgx.Tx
	guard    *idem.Guard
	consumer *kafkaadapter.Consumer
	mux      *http.ServeMux
	eventID  string
	charge   idem.Handler
	client   *ops.Client
	leases   *lease.Leases
	charges  *idem.Guard
	producer *kafkaadapter.Producer

	brokers     []string
	handle      consume.Handler
	kafkaConfig kafkaadapter.Config
)

// pay and send are calls of other systems.
func pay(context.Context, string) (receipt string, err error) { return "", nil }

func send(_ context.Context, _, _ string) (lease.Result, error) { return lease.Result{}, nil }

// session is a service's login.
func session(*http.Request) (user struct {
	Name       string
	IsOperator bool
}, err error) {
	return user, nil
}

// What follows is a service's tests'.

type service struct{ guard *idem.Guard }

func (service) config() consume.Config { return consume.Config{} }

func setup(*testing.T, *pgxpool.Pool) service { return service{} }

func record(id, value string) consume.Record { return consume.Record{} }

func newRecord(id string) consume.Record { return consume.Record{} }

var mails atomic.Int64

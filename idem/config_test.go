package idem_test

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
)

// unreachable is a pool whose every connection attempt is refused.
func unreachable(t *testing.T) *pgxpool.Pool {
	t.Helper()
	pool, err := pgxpool.New(t.Context(), "postgres://nobody@127.0.0.1:1/none")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)

	return pool
}

func TestNewRefusesNonsense(t *testing.T) {
	t.Parallel()
	pool := unreachable(t)
	for name, config := range map[string]idem.Config{
		"zero":               {},
		"long consumer":      {Consumer: strings.Repeat("x", 256)},
		"NUL in consumer":    {Consumer: "a\x00"},
		"UTF-8":              {Consumer: "\xff"},
		"schema":             {Consumer: "c", Schema: `x"; DROP SCHEMA y; --`},
		"upper-case schema":  {Consumer: "c", Schema: "Idem"},
		"system schema":      {Consumer: "c", Schema: "pg_idem"},
		"negative retention": {Consumer: "c", Retention: -time.Hour},
		"tiny retention":     {Consumer: "c", Retention: time.Nanosecond},
		"isolation":          {Consumer: "c", Isolation: "chaos"},
		"read uncommitted":   {Consumer: "c", Isolation: pgx.ReadUncommitted},
		"attempts":           {Consumer: "c", Retry: idem.RetryPolicy{MaxAttempts: -2}},
		"backoff":            {Consumer: "c", Retry: idem.RetryPolicy{InitialBackoff: -1}},
		"backoffs":           {Consumer: "c", Retry: idem.RetryPolicy{InitialBackoff: 2, MaxBackoff: 1}},
	} {
		if guard, err := idem.New(pool, config); guard != nil || !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := idem.New(nil, idem.Config{Consumer: "c"}); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("nil pool: %v", err)
	}
	for name, config := range map[string]idem.CleanerConfig{
		"interval": {Interval: -1}, "long interval": {Interval: math.MaxInt64}, "schema": {Schema: "a.b"}, "retry": {Retry: idem.RetryPolicy{MaxAttempts: -5}},
	} {
		if _, err := idem.NewCleaner(pool, config); !errors.Is(err, idem.ErrInvalidConfig) {
			t.Errorf("cleaner, %s: %v", name, err)
		}
	}
	if _, err := idem.NewCleaner(nil, idem.CleanerConfig{}); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("cleaner, nil pool: %v", err)
	}
}

func TestOptionsRefuseNonsense(t *testing.T) {
	t.Parallel()
	guard := newGuard(t, unreachable(t), idem.Config{Consumer: "c"}) // No I/O may be tried.
	for name, c := range map[string]struct {
		opt  idem.ProcessOption
		want error
	}{
		"nil":        {nil, idem.ErrInvalidConfig},
		"isolation":  {idem.WithIsolation("none"), idem.ErrInvalidConfig},
		"retry":      {idem.WithRetry(idem.RetryPolicy{MaxBackoff: -1}), idem.ErrInvalidConfig},
		"user JSON":  {idem.WithMetadata(idem.Metadata{User: json.RawMessage(`{`)}), idem.ErrInvalidMetadata},
		"large JSON": {idem.WithMetadata(idem.Metadata{User: make([]byte, 64<<10+1)}), idem.ErrInvalidMetadata},
	} {
		if _, err := guard.ProcessIfNew(t.Context(), "e", effect("e"), c.opt); !errors.Is(err, c.want) || idem.IsTransient(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := guard.ProcessIfNew(t.Context(), "e", nil); !errors.Is(err, idem.ErrInvalidConfig) {
		t.Errorf("nil handler: %v", err)
	}
}

func TestRetentionIsRegisteredOnce(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	config := func(retention time.Duration) idem.Config {
		return idem.Config{Consumer: "orders", Retention: retention}
	}
	for _, retention := range []time.Duration{0, idem.DefaultRetention, 0} {
		if err := newGuard(t, b.pool, config(retention)).Register(ctx); err != nil {
			t.Fatal(err)
		}
	}
	other := newGuard(t, b.pool, config(time.Hour))
	_, err := other.ProcessIfNew(ctx, "e", effect("e"))
	var conflict *idem.RetentionConflictError
	if !errors.As(err, &conflict) || conflict.Registered != idem.DefaultRetention || conflict.Configured != time.Hour {
		t.Fatalf("conflicting retention: %v", err)
	}
	if !strings.Contains(err.Error(), "idemctl consumer set-retention") {
		t.Errorf("the error does not say what to do: %v", err)
	}
	b.exec(t, `UPDATE idem.consumers SET retention = '1 hour'`)
	got, err := other.ProcessIfNew(ctx, "e", effect("e"))
	want(t, "after the change", got, err, idem.Processed)
}

func TestRegisterAtTheSameTime(t *testing.T) {
	t.Parallel()
	b := setup(t)
	errs := make(chan error)
	for range 20 {
		guard := newGuard(t, b.pool, idem.Config{Consumer: "orders"})
		go func() { errs <- guard.Register(t.Context()) }()
	}
	for range 20 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	pool := pgtest.NewEmptyDB(t).Pool(t)
	guard := newGuard(t, pool, idem.Config{Consumer: "orders"})
	_, processErr := guard.ProcessIfNew(t.Context(), "e", effect("e"))
	_, cleanErr := guard.CleanupOldEvents(t.Context())
	for _, err := range []error{guard.Register(t.Context()), processErr, cleanErr} {
		if !errors.Is(err, idem.ErrNotMigrated) || idem.IsTransient(err) {
			t.Error(err)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	b := setup(t)
	at := time.Date(2026, 3, 1, 12, 0, 0, 123e6, time.UTC)
	for name, c := range map[string]struct {
		metadata idem.Metadata
		want     string // JSON, or empty
	}{
		"none":       {idem.Metadata{}, ""},
		"user":       {idem.Metadata{User: json.RawMessage(`[1, {"a": "it's \\ é"}]`)}, `{"user": [1, {"a": "it's \\ é"}]}`},
		"binary key": {idem.Metadata{Key: []byte{0xff, 0}}, `{"key_base64": "/wA="}`},
		"large key":  {idem.Metadata{Key: make([]byte, 2000), Attempt: 2}, `{"attempt": 2}`},
		"all": {
			idem.Metadata{Topic: "t", Key: []byte("k"), ProducerTime: at, Host: "h", Attempt: 1, User: json.RawMessage(`null`)},
			`{"topic": "t", "partition": 0, "offset": 0, "key": "k", "producer_time": "2026-03-01T12:00:00.123Z", "host": "h", "attempt": 1, "user": null}`,
		},
	} {
		got, err := b.guard.ProcessIfNew(t.Context(), name, effect(name), idem.WithMetadata(c.metadata))
		want(t, name, got, err, idem.Processed)
		record, err := b.guard.Lookup(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		if !sameJSON(t, record.Metadata, c.want) {
			t.Errorf("%s: stored %s, want %s", name, record.Metadata, c.want)
		}
	}

	got, err := b.guard.ProcessIfNew(t.Context(), "timed", func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `SELECT pg_sleep(0.02)`)

		return err
	}, idem.WithHandlerDuration(), idem.WithMetadata(idem.Metadata{Host: "h"}))
	want(t, "timed", got, err, idem.Processed)
	record, err := b.guard.Lookup(t.Context(), "timed")
	if err != nil {
		t.Fatal(err)
	}
	var timed struct {
		Host      string  `json:"host"`
		HandlerMS float64 `json:"handler_ms"`
	}
	if err := json.Unmarshal(record.Metadata, &timed); err != nil || timed.Host != "h" || timed.HandlerMS < 20 || timed.HandlerMS > 600_000 {
		t.Errorf("timed: %s, %v", record.Metadata, err)
	}
}

func sameJSON(t *testing.T, got json.RawMessage, want string) bool {
	t.Helper()
	if want == "" || got == nil {
		return want == "" && got == nil
	}
	var canonical [2][]byte
	for i, text := range []string{string(got), want} {
		var value any
		if err := json.Unmarshal([]byte(text), &value); err != nil {
			t.Fatal(err)
		}
		var err error
		if canonical[i], err = json.Marshal(value); err != nil {
			t.Fatal(err)
		}
	}

	return string(canonical[0]) == string(canonical[1])
}

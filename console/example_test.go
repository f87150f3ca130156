package console_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/nova-events/idempotent-consumer/console"
	"github.com/nova-events/idempotent-consumer/internal/pgtest"
	"github.com/nova-events/idempotent-consumer/ops"
)

// A service mounts the console behind its own login, which says who may change things.
func ExampleHandler() {
	pool, done := pgtest.Example(`SELECT`) // Stands for pgxpool.New.
	defer done()

	client, err := ops.New(pool, ops.Config{})
	if err != nil {
		fmt.Println(err)

		return
	}
	handler, err := console.Handler(console.Config{
		Client: client,
		Authorize: func(r *http.Request) (console.User, error) {
			name := r.Header.Get("X-Forwarded-User") // Set by the proxy that people log in at.
			if name == "" {
				return console.User{}, errors.New("nobody is logged in")
			}

			return console.User{Name: name, Change: name == "olga"}, nil
		},
		Hosts: []string{"ops.example.com"},
	})
	if err != nil {
		fmt.Println(err)

		return
	}
	mux := http.NewServeMux()
	mux.Handle("/console/", http.StripPrefix("/console", handler))

	for _, user := range []string{"", "rita"} {
		r := httptest.NewRequestWithContext(context.Background(), http.MethodGet, "https://ops.example.com/console/deadletters", nil)
		r.Header.Set("X-Forwarded-User", user)
		w := httptest.NewRecorder()
		mux.ServeHTTP(w, r)
		fmt.Printf("%q: %d\n", user, w.Code)
	}
	// Output:
	// "": 403
	// "rita": 200
}

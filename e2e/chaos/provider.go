package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/nova-events/idempotent-consumer/e2e/history"
)

// provider charges: it answers a key that it knows as it did the first time. At times its answer does not come.
type provider struct {
	server   *http.Server
	url      string
	unheard  chan struct{} // closed when it has ended
	mu       sync.Mutex
	receipts map[string]string // by key
	charges  []history.Charge
}

func startProvider(ctx context.Context) (*provider, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &provider{url: "http://" + listener.Addr().String(), unheard: make(chan struct{}), receipts: map[string]string{}}
	p.server = &http.Server{Handler: p, ReadHeaderTimeout: providerTimeout}
	go func() {
		defer close(p.unheard)
		_ = p.server.Serve(listener) // It ends when it is closed.
	}()

	return p, nil
}

func (p *provider) stop() error {
	err := p.server.Close()
	<-p.unheard

	return err
}

// ServeHTTP charges for the request in the body.
func (p *provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var charge history.Charge
	if err := json.NewDecoder(r.Body).Decode(&charge); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)

		return
	}
	p.mu.Lock()
	if p.receipts[charge.Key] == "" {
		p.receipts[charge.Key] = fmt.Sprint("receipt ", len(p.receipts)+1)
	}
	charge.At, charge.Receipt = time.Now(), p.receipts[charge.Key]
	p.charges = append(p.charges, charge)
	p.mu.Unlock()
	if rand.IntN(10) == 0 { //nolint:gosec // It is no secret.
		panic(http.ErrAbortHandler) // The connection ends.
	}
	_, _ = io.WriteString(w, charge.Receipt) // It may have gone.
}

func (p *provider) history() []history.Charge {
	p.mu.Lock()
	defer p.mu.Unlock()

	return append([]history.Charge(nil), p.charges...)
}

const providerTimeout = 2 * time.Second

// ask asks the provider for a charge, and returns its receipt.
func ask(ctx context.Context, url string, charge history.Charge) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, providerTimeout)
	defer cancel()
	body, err := json.Marshal(charge)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close() //nolint:errcheck // It is only read.

	receipt, err := io.ReadAll(response.Body)

	return string(receipt), err
}

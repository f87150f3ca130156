package fetch

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// worker sends one request after the other to a source, on one connection. To the transport all of them
// are one request: it would open another connection for the next one if that came before
// it has noticed the end of the one before.
type worker struct {
	source    *source
	request   *exchange     // under way; the source's lock protects it
	woken     chan struct{} // holds one
	connected bool
	version   int16
}

func (w *worker) run() {
	_, err := w.source.fetcher.transport.RoundTrip(context.Background(), w.source.fetcher.brokers, w)
	w.source.leave(w, err)
}

// await returns the next request, or nil if nobody has asked for a while.
func (w *worker) await() *exchange {
	idle := time.Now().Add(keepTime)
	timer := time.NewTimer(keepTime)
	defer timer.Stop()
	for {
		now := time.Now()
		x, again := w.source.next(w, now)
		switch {
		case x != nil:
			return x
		case again.IsZero() && (w.source.fetcher.closed.Load() || !now.Before(idle)):
			return nil
		case again.IsZero():
			again = idle
		}
		timer.Reset(again.Sub(now))
		select {
		case <-w.woken:
		case <-timer.C:
		}
	}
}

var (
	_ protocol.RawExchanger  = (*worker)(nil)
	_ protocol.BrokerMessage = (*worker)(nil)
)

// ApiKey implements protocol.Message.
func (*worker) ApiKey() protocol.ApiKey { return protocol.Fetch } //nolint:revive // kafka-go's spelling.

// Broker implements protocol.BrokerMessage.
func (w *worker) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: w.source.broker}, nil
}

// Required implements protocol.RawExchanger. It is called with what the connection speaks.
func (w *worker) Required(versions map[protocol.ApiKey]int16) bool {
	w.version = versions[protocol.Fetch]

	return true
}

// RawExchange implements protocol.RawExchanger. After an error kafka-go closes the connection.
func (w *worker) RawExchange(connection io.ReadWriter) (protocol.Message, error) { //nolint:ireturn // kafka-go's interface.
	if w.version < minVersion {
		return nil, fmt.Errorf("%w: the broker speaks version %d of the fetch request, %d is needed (Kafka 0.11)", ErrUnsupported, w.version, minVersion)
	}
	w.connected = true
	deadline := func(time.Time) error { return nil }
	if c, ok := connection.(interface{ SetDeadline(t time.Time) error }); ok {
		deadline = c.SetDeadline
	}
	from := newStream(connection)
	for x := w.await(); x != nil; x = w.await() {
		err := deadline(time.Now().Add(x.hold + netTimeout))
		if err == nil {
			err = x.roundTrip(connection, from, w.version)
		}
		w.source.finish(w, x, err)
		if err != nil {
			return nil, err
		}
	}

	return w, deadline(time.Time{})
}

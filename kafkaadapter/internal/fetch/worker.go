package fetch

import (
	"context"
	"fmt"
	"time"

	"github.com/segmentio/kafka-go/protocol"
)

// worker sends one request after the other to a source, on one connection.
type worker struct {
	source    *source
	request   *exchange     // under way; the source's lock protects it
	woken     chan struct{} // holds one
	connected bool
}

func (w *worker) run() { w.source.leave(w, w.work()) }

// work returns once nobody has asked for a while, or with an error of the connection.
func (w *worker) work() error {
	connection, err := w.source.fetcher.client.Open(context.Background(), w.source.broker)
	if err != nil {
		return err
	}
	defer connection.Close() //nolint:errcheck // Whatever it has to say, it is not used any more.
	version := min(connection.Newest(protocol.Fetch), newestVersion)
	if version < oldestVersion {
		return fmt.Errorf("%w: the broker speaks version %d of the fetch request, %d is needed (Kafka 0.11)", ErrUnsupported, version, oldestVersion)
	}
	w.connected = true
	from := newStream(connection)
	for x := w.await(); x != nil; x = w.await() {
		err := connection.SetDeadline(time.Now().Add(x.hold + netTimeout))
		if err == nil {
			err = x.roundTrip(connection, from, version)
		}
		w.source.finish(w, x, err)
		if err != nil {
			return err
		}
	}

	return nil
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

package main

import (
	"io"
	"net"
	"testing"
	"time"
)

// Bytes arrive in whatever weather, once it lets them.
func TestWire(t *testing.T) {
	t.Parallel()
	echo, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close() //nolint:errcheck // The test is over.
	go func() {
		for {
			conn, err := echo.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(conn, conn) }()
		}
	}()
	w, err := newWire(t.Context(), echo.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", w.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close() //nolint:errcheck // As above.
	text := []byte("all of this, in parts")
	got := make([]byte, len(text))
	for name, now := range map[string]weather{"fair": {}, "slow": {delay: time.Millisecond, part: 3}} {
		w.set(now)
		if _, err := conn.Write(text); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != string(text) {
			t.Errorf("%s: got %q, %v", name, got, err)
		}
	}
	for name, now := range map[string]weather{"there": {there: true}, "back": {andBack: true}} {
		w.set(now)
		if _, err := conn.Write(text); err != nil {
			t.Fatal(err)
		}
		read := make(chan error, 1)
		go func() {
			_, err := io.ReadFull(conn, got)
			read <- err
		}()
		select {
		case err := <-read:
			t.Errorf("%s: it passed: %v", name, err)
		case <-time.After(50 * time.Millisecond):
		}
		w.set(weather{})
		if err := <-read; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	w.cut()
	if _, err := conn.Read(got); err == nil {
		t.Error("the connection is not cut")
	}
}

package wire

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
)

// fakeConn is a connection to a broker of which the answers are given.
type fakeConn struct {
	net.Conn

	answers io.Reader
}

func (f *fakeConn) Read(b []byte) (int, error)  { return f.answers.Read(b) }
func (f *fakeConn) Write(b []byte) (int, error) { return len(b), nil }

// answering is a connection to a broker that knows heartbeats and sends these bytes.
func answering(sent []byte) *Conn {
	return &Conn{Conn: &fakeConn{answers: bytes.NewReader(sent)}, versions: map[protocol.ApiKey]int16{protocol.Heartbeat: 4}}
}

func frame(size, correlation uint32, body ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, size), correlation), body...)
}

func ask(c *Conn) (*Answer, error) {
	return c.Ask(context.Background(), Request{Key: protocol.Heartbeat, Oldest: 4, Newest: 9, Encode: func(*Writer, int16) {}})
}

func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sent []byte
		err  error
		says string
	}{
		"another's":       {frame(6, 7, 0, 0), ErrMalformed, "answers request 7"},
		"no header":       {frame(3, Correlation), ErrMalformed, "shorter than its header"},
		"too large":       {frame(1<<31, Correlation), ErrMalformed, "2147483644 bytes"},
		"cut in the body": {frame(8, Correlation, 0, 0), io.ErrUnexpectedEOF, ""},
		"cut":             {frame(8, Correlation)[:6], io.ErrUnexpectedEOF, ""},
		"nothing":         {nil, io.EOF, ""},
		"TLS":             {[]byte{0x15, 3, 3, 0, 2, 2, 50}, io.ErrUnexpectedEOF, "expects TLS"},
		"TLS, and more":   {[]byte{0x15, 3, 3, 0, 2, 2, 50, 0, 0}, ErrMalformed, "expects TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, err := ask(answering(test.sent))
			if !errors.Is(err, test.err) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("%+v, %v; want %v, %q", a, err, test.err, test.says)
			}
		})
	}
	a, err := ask(answering(frame(6, Correlation, 1, 2)))
	if err != nil || a.Int16() != 1<<8|2 || a.Bad || a.Int16() != 0 || !a.Bad {
		t.Errorf("%+v, %v", a, err)
	}
}

func TestBrokerThatIsTooOld(t *testing.T) {
	t.Parallel()
	r := Request{Key: protocol.Heartbeat, Oldest: 5, Newest: 9}
	if _, err := answering(nil).Ask(t.Context(), r); !errors.Is(err, kafka.UnsupportedVersion) {
		t.Error(err)
	}
	r.Key = protocol.JoinGroup
	if _, err := answering(nil).Ask(t.Context(), r); !errors.Is(err, kafka.UnsupportedVersion) {
		t.Error(err)
	}
}

// An answer that claims to hold a billion elements makes room for none.
func TestCountsAreComparedWithWhatIsThere(t *testing.T) {
	t.Parallel()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	classic := &Reader{Data: []byte{0x40, 0, 0, 0, 1, 2, 3}}
	compact := &Reader{Data: binary.AppendUvarint(nil, 1<<30)}
	room := [][]int64{make([]int64, classic.Count(1)), make([]int64, compact.CompactCount(1))}
	if len(room[0])+len(room[1]) > 0 || !classic.Bad || !compact.Bad {
		t.Errorf("%d and %d elements, bad: %v, %v", len(room[0]), len(room[1]), classic.Bad, compact.Bad)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

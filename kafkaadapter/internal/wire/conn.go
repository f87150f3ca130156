// Package wire speaks Kafka's protocol over a connection: frames, versions, SASL, and the fields of
// requests and answers. It makes room for nothing that an answer only claims to hold.
package wire

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/sasl"
)

// maxAnswerBytes bounds the answers to Ask: some hundred thousand partitions.
const maxAnswerBytes = 64 << 20

// ErrMalformed is returned when an answer is not one to what was asked, or does not hold what it claims
// to. The connection is of no use then.
var ErrMalformed = errors.New("malformed answer of a broker")

// Conn is a connection to a broker. One request at a time travels on it.
type Conn struct {
	net.Conn

	clientID string
	versions map[protocol.ApiKey]int16 // the newest that the broker knows
}

// Request is what is asked of a broker.
type Request struct {
	Key            protocol.ApiKey
	Oldest, Newest int16 // versions
	Flexible       bool  // the form of KIP-482
	Encode         func(w *Writer, version int16)
}

// Answer is what the broker sends after the header.
type Answer struct {
	Reader

	Version int16
}

// Connect makes a Conn of a connection that has just been opened to an address: it asks for the versions
// that the broker knows, and authenticates the user if there is a mechanism. It returns soon after ctx
// ends. It closes the connection if it fails.
func Connect(ctx context.Context, plain net.Conn, address, clientID string, mechanism sasl.Mechanism) (*Conn, error) {
	c := &Conn{Conn: plain, clientID: clientID, versions: make(map[protocol.ApiKey]int16)}
	err := c.learnVersions(ctx)
	if err == nil && mechanism != nil {
		err = c.authenticate(ctx, address, mechanism)
	}
	if err != nil {
		_ = plain.Close() // What has failed says more.

		return nil, err
	}

	return c, nil
}

// Newest is the newest version of a request that the broker knows, or -1.
func (c *Conn) Newest(key protocol.ApiKey) int16 {
	if newest, ok := c.versions[key]; ok {
		return newest
	}

	return -1
}

// Ask sends a request and returns its answer. Errors are the cause of the end of ctx, ErrMalformed,
// kafka.UnsupportedVersion, or of the network; after all of them the connection is of no use.
func (c *Conn) Ask(ctx context.Context, r Request) (*Answer, error) {
	newest := c.Newest(r.Key)
	if newest < r.Oldest {
		return nil, fmt.Errorf("%v: the broker knows version %d, %d is needed: %w", r.Key, newest, r.Oldest, kafka.UnsupportedVersion)
	}

	return c.ask(ctx, r, min(newest, r.Newest))
}

// ask leaves the connection no time when ctx ends: nothing else ends the wait for an answer that the broker
// holds back.
func (c *Conn) ask(ctx context.Context, r Request, version int16) (*Answer, error) {
	uncut := context.AfterFunc(ctx, func() {
		_ = c.SetDeadline(time.Unix(1, 0)) // It fails if the connection is closed.
	})
	a, err := c.exchange(r, version)
	if !uncut() {
		return nil, context.Cause(ctx)
	}

	return a, err
}

func (c *Conn) exchange(r Request, version int16) (*Answer, error) {
	w := Begin(r.Key, version, c.clientID)
	if r.Flexible {
		w.NoTags()
	}
	r.Encode(w, version)
	if err := w.Send(c); err != nil {
		return nil, err
	}
	size, err := ReadHeader(c)
	if err != nil {
		return nil, err
	}
	if size > maxAnswerBytes {
		return nil, fmt.Errorf("%w: %v of %d bytes, %d are allowed", ErrMalformed, r.Key, size, maxAnswerBytes)
	}
	body, err := io.ReadAll(io.LimitReader(c, size)) // It makes room for what arrives.
	if err != nil {
		return nil, err
	}
	if int64(len(body)) < size {
		return nil, io.ErrUnexpectedEOF
	}
	a := &Answer{Reader: Reader{Data: body}, Version: version}
	if r.Flexible {
		a.Tags()
	}

	return a, nil
}

// Correlation is the number of all requests: one at a time travels on a connection.
const Correlation = 1

// Begin returns a request that has its header. A flexible one lacks the header's tagged fields.
func Begin(key protocol.ApiKey, version int16, clientID string) *Writer {
	w := &Writer{Data: make([]byte, lengthBytes, 512)}
	w.Int16(int16(key))
	w.Int16(version)
	w.Int32(Correlation)
	w.Text(clientID)

	return w
}

const lengthBytes = 4

// Send sends a request that Begin has begun.
func (w *Writer) Send(to io.Writer) error {
	binary.BigEndian.PutUint32(w.Data, uint32(len(w.Data)-lengthBytes)) //nolint:gosec // No request is that long.
	_, err := to.Write(w.Data)

	return err
}

// ReadHeader reads the header of the answer to what was sent last, and returns how many bytes follow it.
func ReadHeader(from io.Reader) (size int64, err error) {
	var header [8]byte
	if _, err := io.ReadFull(from, header[:]); err != nil {
		if errors.Is(err, io.ErrUnexpectedEOF) && looksLikeTLS(header) {
			err = fmt.Errorf("%w: the broker expects TLS", err)
		}

		return 0, err
	}
	size = int64(binary.BigEndian.Uint32(header[:])) - (int64(len(header)) - lengthBytes)
	switch got := binary.BigEndian.Uint32(header[lengthBytes:]); {
	case got != Correlation && looksLikeTLS(header):
		return 0, fmt.Errorf("%w: the broker expects TLS", ErrMalformed)
	case got != Correlation:
		return 0, fmt.Errorf("%w: it answers request %d, not %d", ErrMalformed, got, Correlation)
	case size < 0:
		return 0, fmt.Errorf("%w: it is shorter than its header", ErrMalformed)
	}

	return size, nil
}

// looksLikeTLS reports whether what should be an answer is an alert of TLS.
func looksLikeTLS(header [8]byte) bool {
	const alert, major = 0x15, 3

	return header[0] == alert && header[1] == major
}

// learnVersions asks for the versions of requests that the broker knows.
func (c *Conn) learnVersions(ctx context.Context) error {
	a, err := c.ask(ctx, Request{Key: protocol.ApiVersions, Encode: func(*Writer, int16) {}}, 0)
	if err != nil {
		return err
	}
	const leastKey = 6
	code := kafka.Error(a.Int16())
	for range a.Count(leastKey) {
		key, _, newest := a.Int16(), a.Int16(), a.Int16()
		c.versions[protocol.ApiKey(key)] = newest
	}

	return a.Err(protocol.ApiVersions, code)
}

// Err returns the error that an answer reports, or ErrMalformed if it ends too early.
func (a *Answer) Err(key protocol.ApiKey, code kafka.Error) error {
	switch {
	case a.Bad:
		return fmt.Errorf("%v: %w: it ends too early", key, ErrMalformed)
	case code != 0:
		return fmt.Errorf("%v: %w", key, code)
	default:
		return nil
	}
}

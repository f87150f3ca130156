package pgtest

import (
	"bufio"
	"encoding/binary"
	"io"
	"net"
	"sync"
)

// Codes of the requests with which a client may ask for encryption before it starts up.
const (
	sslRequest    = 80877103
	gssEncRequest = 80877104
)

// link is one client's connection through a Proxy.
type link struct {
	client, server net.Conn

	mu sync.Mutex
	// asked counts what makes the server answer that it is ready: the startup, then the
	// client's messages for which message.asks is true. answered counts these answers.
	asked, answered int
	// awaited is the number of the answer after which the connection is cut; 0: none. While it is set,
	// the client sees no answers, unless somebody is to be told before it does.
	awaited  int
	tell     func()
	swallows bool
}

func newLink(client, server net.Conn) *link {
	return &link{client: client, server: server, asked: 1}
}

// run passes messages on until one side goes or the connection is cut. take returns the cut
// to make because of a statement.
func (l *link) run(take func(sql string) *cut) {
	var (
		directions sync.WaitGroup
		made       *cut
	)
	directions.Go(func() { made = l.forward(take) })
	directions.Go(l.back)
	directions.Wait()
	if made != nil {
		close(made.done)
	}
}

func (l *link) cut() {
	_ = l.client.Close()
	_ = l.server.Close()
}

// forward passes on what the client sends. It returns the cut that ends the connection, if
// it is one of take.
func (l *link) forward(take func(sql string) *cut) (made *cut) {
	defer l.cut()
	stream := bufio.NewReader(l.client)
	if err := l.forwardStartup(stream); err != nil {
		return nil
	}

	known := newStatements()
	for {
		m, err := peekMessage(stream)
		if err != nil {
			return made
		}
		if sql := known.executedBy(m); sql != "" && made == nil {
			if made = take(sql); made != nil {
				switch made.mode {
				case DropBeforeCommit:
					return made
				case Swallow:
					close(made.done)
					l.swallow(stream)

					return nil
				case DropAfterCommit, ForwardCommitThenCut:
					l.await(made.answered)
				}
			}
		}
		if m.asks() {
			l.ask()
		}
		if _, err := io.CopyN(l.server, stream, m.size); err != nil {
			return made
		}
		if made != nil && made.mode == ForwardCommitThenCut && m.asks() {
			return made
		}
	}
}

// swallow passes nothing on any more, until the client gives up.
func (l *link) swallow(fromClient io.Reader) {
	l.mu.Lock()
	l.swallows = true
	l.mu.Unlock()
	_, _ = io.Copy(io.Discard, fromClient)
}

// forwardStartup passes on the first message, which has no type. It refuses encryption in
// the name of the server.
func (l *link) forwardStartup(stream *bufio.Reader) error {
	for {
		head, err := stream.Peek(8)
		if err != nil {
			return err
		}
		size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if code != sslRequest && code != gssEncRequest {
			_, err := io.CopyN(l.server, stream, int64(size))

			return err
		}
		if _, err := stream.Discard(len(head)); err != nil {
			return err
		}
		if _, err := l.client.Write([]byte("N")); err != nil {
			return err
		}
	}
}

// back passes on what the server sends. Of a server that goes the client hears nothing if all is swallowed.
func (l *link) back() {
	defer func() {
		if l.mu.Lock(); !l.swallows {
			l.cut()
		}
		l.mu.Unlock()
	}()
	stream := bufio.NewReader(l.server)
	for {
		m, err := peekMessage(stream)
		if err != nil {
			return
		}
		withheld, last := l.receive(m)
		if last && l.tell != nil {
			l.tell()
		}
		client := io.Writer(l.client)
		if withheld {
			client = io.Discard
		}
		if _, err := io.CopyN(client, stream, m.size); err != nil || last {
			return
		}
	}
}

// await ends the connection after the answer to the statement which is about to be sent. The client
// sees the answers up to that one only if there is somebody to tell before.
func (l *link) await(tell func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.awaited, l.tell = l.asked+1, tell
}

func (l *link) ask() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked++
}

// receive reports whether the server's message is to be withheld, and whether it is the
// last that was waited for.
func (l *link) receive(m message) (withheld, last bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if m.kind == msgReadyForQuery {
		l.answered++
	}

	return l.swallows || l.awaited != 0 && l.tell == nil, l.awaited != 0 && l.answered == l.awaited
}

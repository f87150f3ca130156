package modelpg

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// session serves one connection.
type session struct {
	server *Server
	conn   net.Conn
	inbox  *inbox
	pid    int32
	client string

	// Under the server's mutex.
	tx        *tx
	executing bool
	ended     error           // by somebody else
	statement context.Context //nolint:containedctx // It ends when the present statement is cancelled.
	cancel    context.CancelFunc
}

// failure is an error of the server.
func failure(code, message string) error {
	return &pgconn.PgError{Severity: "ERROR", Code: code, Message: message}
}

// end ends the session from outside. The caller has the mutex.
func (n *session) end(why string) {
	if n.ended != nil {
		return
	}
	n.ended = &pgconn.PgError{Severity: "FATAL", Code: "57P01", Message: why}
	n.cancel()
	if n.tx != nil && !n.executing {
		n.tx.end()
	}
	_ = n.conn.Close()
}

func (n *session) run() {
	defer func() {
		_ = n.conn.Close()
		n.cancel()
		n.server.mu.Lock()
		defer n.server.mu.Unlock()
		delete(n.server.sessions, n.pid)
		if n.tx != nil {
			n.tx.end()
		}
	}()
	wire := pgproto3.NewBackend(n.inbox, n.conn)
	err := n.greet(wire)
	for err == nil {
		err = n.exchange(wire)
	}
}

// greet serves the first message: of a new session, or of a client that wants a statement cancelled.
func (n *session) greet(wire *pgproto3.Backend) error {
	first, err := wire.ReceiveStartupMessage()
	if err != nil {
		return err
	}
	n.server.mu.Lock()
	switch m := first.(type) {
	case *pgproto3.StartupMessage:
		n.client = m.Parameters["application_name"]
		n.server.sessions[n.pid] = n
	case *pgproto3.CancelRequest:
		if other := n.server.sessions[int32(m.ProcessID)]; other != nil && other.executing { //nolint:gosec // It is one of ours.
			other.cancel()
		}
		err = io.EOF
	}
	n.server.mu.Unlock()
	if err != nil {
		return err
	}
	wire.Send(&pgproto3.AuthenticationOk{})
	for name, value := range map[string]string{"server_version": "17.0", "standard_conforming_strings": "on", "client_encoding": "UTF8"} {
		wire.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	wire.Send(&pgproto3.BackendKeyData{ProcessID: uint32(n.pid), SecretKey: []byte("0000")}) //nolint:gosec // It is positive.
	wire.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})

	return wire.Flush()
}

// query is a statement with its arguments.
type query struct {
	name, sql string
	args      args
	simple    bool
}

// receive reads what the client sends until it waits.
func receive(wire *pgproto3.Backend) ([]query, error) {
	var (
		queries []query
		q       query
	)
	for {
		message, err := wire.Receive()
		if err != nil {
			return nil, err
		}
		switch m := message.(type) {
		case *pgproto3.Query:
			return []query{{name: nameOf(m.String), sql: m.String, simple: true}}, nil
		case *pgproto3.Parse:
			q = query{name: nameOf(m.Query), sql: m.Query}
		case *pgproto3.Bind:
			q.args = make(args, len(m.Parameters))
			for i, p := range m.Parameters {
				if p != nil {
					value := string(p)
					q.args[i] = &value
				}
			}
		case *pgproto3.Execute:
			queries = append(queries, q)
		case *pgproto3.Sync:
			return queries, nil
		case *pgproto3.Terminate:
			return nil, io.EOF
		}
	}
}

// nameOf is the name that sqlc has given to a statement, or its first word.
func nameOf(sql string) string {
	if rest, ok := strings.CutPrefix(sql, "-- name: "); ok {
		name, _, _ := strings.Cut(rest, " ")

		return name
	}
	word, _, _ := strings.Cut(strings.ToLower(sql), " ")

	return word
}

// exchange serves what travels together.
func (n *session) exchange(wire *pgproto3.Backend) error {
	queries, err := receive(wire)
	if err != nil {
		return err
	}
	var fault Fault
	if n.server.Faults != nil && len(queries) > 0 {
		e := Exchange{Client: n.client}
		for _, q := range queries {
			e.Names = append(e.Names, q.name)
		}
		for _, arg := range queries[len(queries)-1].args {
			if arg != nil {
				e.Args = append(e.Args, *arg)
			}
		}
		fault = n.server.Faults(e)
	}
	time.Sleep(fault.Before)
	switch fault.Cut {
	case NoCut, CutAfter:
	case CutBefore:
		return io.EOF
	case CutMeanwhile:
		_ = n.conn.Close()
		time.Sleep(fault.After)
	}
	n.execute(wire, queries, fault.Refuse)
	if fault.Cut != NoCut {
		return io.EOF
	}
	time.Sleep(fault.After)

	return wire.Flush() // Fails if the session was ended meanwhile.
}

// execute executes statements until one fails, and queues their answers.
func (n *session) execute(wire *pgproto3.Backend, queries []query, refuse string) {
	n.server.mu.Lock()
	defer n.server.mu.Unlock()
	if n.ended != nil {
		return
	}
	n.executing = true
	defer func() { n.executing = false }()
	n.statement, n.cancel = context.WithCancel(context.Background())
	defer func() { n.cancel() }()
	for i, q := range queries {
		var (
			answer result
			err    error
		)
		if refuse != "" && i == len(queries)-1 {
			err = failure(refuse, "simulated")
			if n.tx != nil {
				n.tx.fail()
			}
		} else {
			answer, err = n.query(q)
		}
		if n.ended != nil {
			if n.tx != nil {
				n.tx.end()
			}

			return
		}
		if !q.simple {
			wire.Send(&pgproto3.ParseComplete{})
			wire.Send(&pgproto3.BindComplete{})
		}
		if err != nil {
			var pgErr *pgconn.PgError
			errors.As(err, &pgErr)
			wire.Send(&pgproto3.ErrorResponse{Severity: pgErr.Severity, SeverityUnlocalized: pgErr.Severity, Code: pgErr.Code, Message: pgErr.Message})

			break
		}
		answer.send(wire, q.simple)
	}
	status := byte('I')
	switch {
	case n.tx == nil:
	case !n.tx.explicit && n.tx.failed:
		n.tx.end()
	case !n.tx.explicit:
		n.tx.commit()
	case n.tx.failed:
		status = 'E'
	default:
		status = 'T'
	}
	wire.Send(&pgproto3.ReadyForQuery{TxStatus: status})
}

// query executes one statement.
func (n *session) query(q query) (result, error) {
	switch q.name {
	case "begin":
		n.begin()
		n.tx.explicit = true

		return result{tag: "BEGIN"}, nil
	case "commit", "rollback":
		tag := strings.ToUpper(q.name)
		switch {
		case n.tx == nil:
		case q.name == "commit" && !n.tx.failed:
			n.tx.commit()
		default:
			tag = "ROLLBACK"
			n.tx.end()
		}

		return result{tag: tag}, nil
	}
	n.begin()
	if n.tx.failed {
		return result{}, failure("25P02", "current transaction is aborted, commands ignored until end of transaction block")
	}
	run, known := statements[q.name]
	switch {
	case strings.HasPrefix(q.sql, "-- ping"):
		return result{tag: "SELECT 0"}, nil
	case !known:
		n.tx.fail()

		return result{}, failure("42601", "no such statement: "+q.sql)
	}
	answer, err := run(n.server, n.tx, q.args)
	if err != nil {
		n.tx.fail()
	}

	return answer, err
}

func (n *session) begin() {
	if n.tx == nil {
		n.tx = &tx{session: n, began: time.Now()}
	}
}

// inbox holds what a client has sent, so that no client waits for a server that does not read.
type inbox struct {
	from net.Conn

	mu     sync.Mutex
	bytes  []byte
	err    error
	filled chan struct{}
}

func newInbox(from net.Conn) *inbox { return &inbox{from: from, filled: make(chan struct{}, 1)} }

func (b *inbox) fill() {
	var buffer [4096]byte
	for {
		n, err := b.from.Read(buffer[:])
		b.mu.Lock()
		b.bytes, b.err = append(b.bytes, buffer[:n]...), err
		b.mu.Unlock()
		select {
		case b.filled <- struct{}{}:
		default:
		}
		if err != nil {
			return
		}
	}
}

// Read returns what has come, waiting for something.
func (b *inbox) Read(to []byte) (int, error) {
	for {
		b.mu.Lock()
		n := copy(to, b.bytes)
		b.bytes = b.bytes[n:]
		err := b.err
		b.mu.Unlock()
		switch {
		case n > 0:
			return n, nil
		case err != nil:
			return 0, err
		}
		<-b.filled
	}
}

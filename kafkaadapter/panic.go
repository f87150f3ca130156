package kafkaadapter

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/segmentio/kafka-go"
)

// ErrHandlerExited is wrapped by the *RecordError that Run returns when a handler, or another
// function of Config, ended its goroutine (runtime.Goexit), as testing.T.FailNow does. Nothing of the
// attempt took effect. Make the handler return an error.
var ErrHandlerExited = errors.New("kafkaadapter: the handler ended its goroutine")

// PanicError is the error of an attempt whose handler panicked. It wraps the value if that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine, from the panic on
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value that was passed to panic if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)

	return err
}

// newPanicError must be called by the function that recovered.
func newPanicError(value any) *PanicError {
	stack := debug.Stack()
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		stack = stack[i+1:] // Before that are the frames of the recovery.
	}

	return &PanicError{Value: value, Stack: stack}
}

// stackOf returns the stack of the panic that err comes of, or "".
func stackOf(err error) string {
	var panicked *PanicError
	if !errors.As(err, &panicked) {
		return ""
	}

	return string(panicked.Stack)
}

// textOf is the text of a dead letter's error, with the stack of a panic.
func textOf(err error) string {
	if stack := stackOf(err); stack != "" {
		return err.Error() + "\n\n" + stack
	}

	return err.Error()
}

// try calls a function of the user's for the record m. A panic becomes its error. If the function
// ends the goroutine, that is noted for runApart or the lane.
func (w *worker) try(m Message, call func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if !w.config.LetPanic {
			if value := recover(); value != nil {
				err = newPanicError(value)

				return
			}
		}
		w.exited = w.refuse(m, ErrHandlerExited)
	}()
	err = call()
	returned = true

	return err
}

// eventID is Config.EventID.
func (w *worker) eventID(record kafka.Message) (id string, err error) {
	err = w.try(Message{Message: record}, func() error {
		id, err = w.config.EventID(record)

		return err
	})

	return id, err
}

// runApart is run in a goroutine of its own, so that a handler that ends its goroutine does not end
// the caller's.
func (w *worker) runApart(revoked, work context.Context) error {
	var err error
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer w.generation.consumer.pool.add(w)()
		returned := false
		defer func() {
			if !returned {
				err = w.exitedOr(ErrHandlerExited)
			}
		}()
		err = w.run(revoked, work)
		returned = true
	}()
	<-ended

	return err
}

// exitedOr is why the worker's goroutine has ended without returning.
func (w *worker) exitedOr(err error) error {
	if w.exited != nil {
		return w.exited
	}

	return err
}

// observeSafely returns Config.Observe with its panics made lines in the log: what is only watched goes on.
func (c Config) observeSafely() func(Event) {
	observe, log := c.Observe, c.Logger
	if c.LetPanic {
		return observe
	}

	return func(e Event) {
		defer func() {
			if value := recover(); value != nil {
				log.Error("kafkaadapter: Config.Observe panicked", "error", value, "stack", string(newPanicError(value).Stack))
			}
		}()
		observe(e)
	}
}

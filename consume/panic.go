package consume

import (
	"bytes"
	"errors"
	"fmt"
	"runtime/debug"
)

// ErrHandlerExited is wrapped by the *RecordError that Run returns when a handler, or another
// function of Config, ended its goroutine (runtime.Goexit), as testing.T.FailNow does. Nothing of the
// attempt took effect. Make the handler return an error.
var ErrHandlerExited = errors.New("consume: the handler ended its goroutine")

// PanicError is the error of an attempt whose handler panicked. It wraps the value if that is an error.
type PanicError struct {
	Value any
	Stack []byte // of the goroutine, from the panic on
}

// NewPanicError makes the error of a recovered panic. The function that recovered must call it.
func NewPanicError(value any) *PanicError {
	stack := debug.Stack()
	if i := bytes.Index(stack, []byte("\npanic(")); i >= 0 {
		stack = stack[i+1:] // Before that are the frames of the recovery.
	}

	return &PanicError{Value: value, Stack: stack}
}

func (e *PanicError) Error() string { return fmt.Sprintf("panic: %v", e.Value) }

// Unwrap returns the value that was passed to panic if it is an error, else nil.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)

	return err
}

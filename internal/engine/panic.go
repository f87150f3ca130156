package engine

import (
	"errors"

	"github.com/nova-events/idempotent-consumer/consume"
)

// stackOf returns the stack of the panic that err comes of, or "".
func stackOf(err error) string {
	var panicked *consume.PanicError
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

// safely calls a user's function for the record m. A panic becomes its error. If the function ends
// the goroutine, that is stored for Engine.Run or the lane.
func (w *worker) safely(m consume.Message, call func() error) (err error) {
	returned := false
	defer func() {
		if returned {
			return
		}
		if !w.config.LetPanic {
			if value := recover(); value != nil {
				err = consume.NewPanicError(value)

				return
			}
		}
		w.exited = w.refuse(m, consume.ErrHandlerExited)
	}()
	err = call()
	lookAt(err)
	returned = true

	return err
}

// lookAt calls what everybody calls of an error later, where nothing would catch a panic: a nil pointer in an error has methods that do.
func lookAt(err error) {
	if err != nil {
		_, _ = errors.Is(err, consume.ErrHandlerExited), err.Error()
	}
}

// eventID reads the event id of one record.
func (w *worker) eventID(record consume.Record) (string, error) {
	w.reads.begin(record.Offset)
	defer w.reads.end()

	return w.readID(record)
}

// readID is Config.EventID. What it returns beside an error is no id: a part of one can be that of many records.
func (w *worker) readID(record consume.Record) (id string, err error) {
	err = w.safely(consume.Message{Record: record}, func() error {
		id, err = w.config.EventID(record)

		return err
	})
	if err != nil {
		return "", err
	}

	return id, nil
}

// exitedOr is why the worker's goroutine has ended without returning.
func (w *worker) exitedOr(err error) error {
	if w.exited != nil {
		return w.exited
	}

	return err
}

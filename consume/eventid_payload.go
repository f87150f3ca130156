package consume

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"
)

var (
	errNoObject   = errors.New("there is no JSON object where it should be")
	errNoField    = errors.New("it does not exist")
	errCutOff     = errors.New("it is cut off or goes on with something else")
	errNotString  = errors.New("it is not a string")
	errEmpty      = errors.New("it is empty")
	errNotUnicode = errors.New("it is not valid Unicode, or was damaged before: it has U+FFFD in it")
)

// PayloadField takes the event id from a field of a JSON object in the record's value. The path names the
// field from the outermost object inward, separated by dots: "order.id". A name with a dot in it cannot be
// reached. Strings are used as they are, numbers as they are written: 1 and 1.0 are two events, 1 and "1"
// are one. The strategy detects redelivered and re-produced records if the field is an id that a retry
// keeps. Two events collide if both carry the same id, for instance the id of the order they are about.
//
// The error is ErrNoEventID if the field is missing, null, true, false, empty, an object, an array
// or not Unicode, or if the JSON before it is invalid or nested more than 10,000 levels deep. The
// JSON after the field is not read. If a name occurs twice in one object, the first one counts.
func PayloadField(path string) EventID {
	names := strings.Split(path, ".")

	return func(record Record) (string, error) {
		id, err := findField(record.Value, names)
		if err != nil {
			return "", fmt.Errorf("%w: the field %q of the payload: %w", ErrNoEventID, path, err)
		}

		return id, nil
	}
}

func newDecoder(value []byte) *json.Decoder {
	decoder := json.NewDecoder(bytes.NewReader(value))
	decoder.UseNumber() // A float64 would make one event of two numbers beyond 2^53.

	return decoder
}

func findField(value []byte, names []string) (string, error) {
	decoder := newDecoder(value)
	for _, name := range names {
		if err := enterObject(decoder); err != nil {
			return "", err
		}
		if _, err := skipTo(decoder, name); err != nil {
			return "", err
		}
	}
	token, err := decoder.Token()
	if err != nil {
		return "", err
	}
	if number, ok := token.(json.Number); ok {
		// Token returns 12 as a number if the value breaks off in the middle of 1234.
		if rest := bytes.TrimLeft(value[decoder.InputOffset():], " \t\r\n"); len(rest) == 0 || (rest[0] != ',' && rest[0] != '}') {
			return "", errCutOff
		}

		return number.String(), nil
	}
	id, err := stringID(token)
	if errors.Is(err, errNotString) {
		return "", errors.New("it is neither a string nor a number")
	}

	return id, err
}

// stringID returns a token that can be an id. encoding/json reads U+FFFD where a string is not
// valid Unicode; different ids would become one, so that character is not accepted.
func stringID(token json.Token) (string, error) {
	id, ok := token.(string)
	switch {
	case !ok:
		return "", errNotString
	case id == "":
		return "", errEmpty
	case strings.ContainsRune(id, utf8.RuneError):
		return "", errNotUnicode
	default:
		return id, nil
	}
}

func enterObject(decoder *json.Decoder) error {
	start, err := decoder.Token()
	switch {
	case errors.Is(err, io.EOF):
		return errNoObject
	case err != nil:
		return err
	case start != json.Delim('{'):
		return errNoObject
	default:
		return nil
	}
}

// skipTo reads an object up to the value of the first of the names that occurs, and returns
// that name. Decode refuses what is nested more than 10,000 deep, so the stack is bounded.
func skipTo(decoder *json.Decoder, names ...string) (string, error) {
	for decoder.More() {
		key, err := decoder.Token()
		if err != nil {
			return "", err
		}
		if i := slices.IndexFunc(names, func(name string) bool { return key == name }); i >= 0 {
			return names[i], nil
		}
		var skipped json.RawMessage
		if err := decoder.Decode(&skipped); err != nil {
			return "", err
		}
	}

	return "", errNoField
}

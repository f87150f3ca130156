package idem

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const (
	maxUserMetadataBytes = 64 << 10
	maxMetadataKeyBytes  = 1 << 10
	maxMetadataDepth     = 1000
	maxMetadataNumber    = 1000 // digits
)

// Metadata is stored with the claim for people who look at it later (Lookup, "idemctl show", the
// view events). The guard itself never reads it. Zero fields are left out.
type Metadata struct {
	// Topic, Partition and Offset are the record's place in Kafka; Partition and Offset are stored
	// only if Topic is set.
	Topic     string
	Partition int32
	Offset    int64
	// Key is the record's key. A key of more than 1 KiB is left out.
	Key []byte
	// ProducerTime is the record's timestamp. A time after the year 9999 is left out.
	ProducerTime time.Time
	// Host is the machine that processes the event.
	Host string
	// Attempt is the number of this delivery or try, from 1.
	Attempt int
	// User is for the service's own use: any JSON value of at most 64 KiB.
	User json.RawMessage
}

type metadataJSON struct {
	Topic        string          `json:"topic,omitempty"`
	Partition    *int32          `json:"partition,omitempty"`
	Offset       *int64          `json:"offset,omitempty"`
	Key          string          `json:"key,omitempty"`
	KeyBase64    []byte          `json:"key_base64,omitempty"`
	ProducerTime *time.Time      `json:"producer_time,omitempty"`
	Host         string          `json:"host,omitempty"`
	Attempt      int             `json:"attempt,omitempty"`
	User         json.RawMessage `json:"user,omitempty"`
}

func (m Metadata) marshal() (string, error) {
	if len(m.User) > maxUserMetadataBytes {
		return "", fmt.Errorf("%w: User has %d bytes, %d are allowed", ErrInvalidMetadata, len(m.User), maxUserMetadataBytes)
	}
	out := metadataJSON{Topic: m.Topic, Host: m.Host, Attempt: m.Attempt, User: m.User}
	if m.Topic != "" {
		out.Partition, out.Offset = &m.Partition, &m.Offset
	}
	// Producers can send any number for a time; that must not keep the event from being processed.
	if utc := m.ProducerTime.UTC(); !m.ProducerTime.IsZero() && utc.Year() >= 0 && utc.Year() <= 9999 {
		out.ProducerTime = &utc
	}
	switch {
	case len(m.Key) > maxMetadataKeyBytes:
	case utf8.Valid(m.Key) && !bytes.ContainsRune(m.Key, 0):
		out.Key = string(m.Key)
	default:
		out.KeyBase64 = m.Key
	}
	text, err := json.Marshal(out)
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidMetadata, err)
	}
	if text, err = storable(text); err != nil {
		return "", fmt.Errorf("%w: %w", ErrInvalidMetadata, err)
	}
	if string(text) == "{}" {
		return "", nil
	}

	return string(text), nil
}

// storable returns JSON that jsonb takes, or an error. JSON can say more than jsonb can hold,
// and the server would find that out only in the transaction.
func storable(text []byte) ([]byte, error) {
	if !utf8.Valid(text) {
		return nil, errors.New("it is not UTF-8")
	}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	depth := 0
	for {
		token, err := decoder.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		switch token := token.(type) {
		case json.Delim:
			if token == '{' || token == '[' {
				depth++
			} else {
				depth--
			}
			if depth > maxMetadataDepth {
				return nil, fmt.Errorf("it is nested more than %d levels deep", maxMetadataDepth)
			}
		case string:
			if strings.ContainsRune(token, 0) {
				return nil, fmt.Errorf("%q contains a NUL character", token)
			}
		case json.Number:
			if !storableNumber(token.String()) {
				return nil, fmt.Errorf("the number %.20s… is outside jsonb's range", token)
			}
		}
	}
	if !bytes.Contains(text, []byte(`\u`)) {
		return text, nil
	}
	// Halves of surrogate pairs, which jsonb refuses, become U+FFFD on the way.
	var value any
	decoder = json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}

	return json.Marshal(value)
}

// storableNumber reports whether jsonb, which holds any number of digits but not exponents
// without end, takes a number. That of a float64 is enough.
func storableNumber(text string) bool {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(text), "e")
	number, err := strconv.ParseFloat(text, 64)
	vanished := number == 0 && strings.ContainsAny(mantissa, "123456789")

	return err == nil && !vanished && len(text) <= maxMetadataNumber && len(exponent) <= len("+308")
}

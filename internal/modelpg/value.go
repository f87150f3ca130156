package modelpg

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The types of columns.
const (
	oidBool   = 16
	oidBytea  = 17
	oidInt8   = 20
	oidInt4   = 23
	oidText   = 25
	oidByteas = 1001
	oidTexts  = 1009
	oidUUID   = 2950
	oidJSONB  = 3802
)

// column is one of an answer's.
type column struct {
	name string
	oid  uint32
}

// result is the answer to a statement.
type result struct {
	tag     string
	columns []column
	rows    [][]*string
}

func affected(verb string, rows int) result { return result{tag: verb + " " + strconv.Itoa(rows)} }

// selected is the answer to a query.
func selected(rows [][]*string, columns ...column) result {
	return result{tag: "SELECT " + strconv.Itoa(len(rows)), columns: columns, rows: rows}
}

func (r result) send(wire *pgproto3.Backend, simple bool) {
	switch {
	case r.columns != nil:
		fields := make([]pgproto3.FieldDescription, len(r.columns))
		for i, c := range r.columns {
			fields[i] = pgproto3.FieldDescription{Name: []byte(c.name), DataTypeOID: c.oid, DataTypeSize: -1, TypeModifier: -1}
		}
		wire.Send(&pgproto3.RowDescription{Fields: fields})
	case !simple:
		wire.Send(&pgproto3.NoData{})
	}
	for _, row := range r.rows {
		values := make([][]byte, len(row))
		for i, v := range row {
			if v != nil {
				values[i] = []byte(*v)
			}
		}
		wire.Send(&pgproto3.DataRow{Values: values})
	}
	wire.Send(&pgproto3.CommandComplete{CommandTag: []byte(r.tag)})
}

// args are the arguments of a statement, as text; nil is null. They are counted from 1, as in SQL.
type args []*string

func (a args) text(n int) string {
	if v := a[n-1]; v != nil {
		return *v
	}

	return ""
}

func (a args) int(n int) int64 {
	v, _ := strconv.ParseInt(a.text(n), 10, 64)

	return v
}

func (a args) bool(n int) bool { return a.text(n) == "t" || a.text(n) == "true" }

// maybeInt returns nil for null.
func (a args) maybeInt(n int) *int64 {
	if a[n-1] == nil {
		return nil
	}
	v := a.int(n)

	return &v
}

// texts are the elements of an array.
func (a args) texts(n int) []string { return elements(a.text(n)) }

func (a args) ints(n int) []int64 {
	var all []int64
	for _, element := range a.texts(n) {
		v, _ := strconv.ParseInt(element, 10, 64)
		all = append(all, v)
	}

	return all
}

// elements parses an array of one dimension without nulls.
func elements(array string) []string {
	inner := strings.TrimSuffix(strings.TrimPrefix(array, "{"), "}")
	if inner == "" {
		return nil
	}
	var (
		all    []string
		one    strings.Builder
		quoted bool
	)
	for i := 0; i < len(inner); i++ {
		switch c := inner[i]; {
		case c == '\\':
			i++
			one.WriteByte(inner[i])
		case c == '"':
			quoted = !quoted
		case c == ',' && !quoted:
			all = append(all, one.String())
			one.Reset()
		default:
			one.WriteByte(c)
		}
	}

	return append(all, one.String())
}

// array formats one of UUIDs.
func array(all []string) *string { return ptr("{" + strings.Join(all, ",") + "}") }

func ptr[T any](v T) *T { return &v }

// boolText is how the server writes a boolean.
func boolText(v bool) *string {
	if v {
		return ptr("t")
	}

	return ptr("f")
}

// orNull is null for an empty text.
func orNull(v string) *string {
	if v == "" {
		return nil
	}

	return &v
}

// intText is the text of a number, or null.
func intText(v *int64) *string {
	if v == nil {
		return nil
	}

	return text(*v)
}

// same reports whether two values are equal and neither is null.
func same[T comparable](a, b *T) bool { return a != nil && b != nil && *a == *b }

// member is a member of a JSON object as text, or "".
func member(object *string, name string) string {
	if object == nil {
		return ""
	}
	var members map[string]any
	decoder := json.NewDecoder(strings.NewReader(*object))
	decoder.UseNumber()
	if decoder.Decode(&members) != nil || members[name] == nil {
		return ""
	}
	if number, ok := members[name].(json.Number); ok {
		return number.String()
	}
	v, _ := members[name].(string)

	return v
}

// microsOf is a timestamptz as microseconds since 1970, the least number for none.
func microsOf(timestamp *string) int64 {
	if timestamp != nil {
		for _, layout := range []string{"2006-01-02 15:04:05.999999999Z07:00:00", "2006-01-02 15:04:05.999999999Z07:00", time.RFC3339Nano} {
			if at, err := time.Parse(layout, *timestamp); err == nil {
				return at.UnixMicro()
			}
		}
	}

	return math.MinInt64
}

// micros are those of an interval as pgx writes it, "168:00:00".
func micros(interval string) string {
	var hours, minutes int64
	var seconds float64
	if _, err := fmt.Sscanf(interval, "%d:%d:%f", &hours, &minutes, &seconds); err != nil {
		return ""
	}

	return *text((hours*60+minutes)*60e6 + int64(seconds*1e6))
}

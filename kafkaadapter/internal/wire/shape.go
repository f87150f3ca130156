package wire

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/findcoordinator"
	"github.com/segmentio/kafka-go/protocol/heartbeat"
	"github.com/segmentio/kafka-go/protocol/joingroup"
	"github.com/segmentio/kafka-go/protocol/leavegroup"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/offsetcommit"
	"github.com/segmentio/kafka-go/protocol/offsetfetch"
	"github.com/segmentio/kafka-go/protocol/produce"
	"github.com/segmentio/kafka-go/protocol/saslauthenticate"
	"github.com/segmentio/kafka-go/protocol/saslhandshake"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// messages are the answers that kafka-go decodes for us. Their types say by tags what they
// consist of in which version: kafka-go's decoders are made of the same tags.
var messages = func() map[protocol.ApiKey]message {
	all := make(map[protocol.ApiKey]message)
	for _, m := range []protocol.Message{
		&apiversions.Response{}, &metadata.Response{}, &listoffsets.Response{}, &produce.Response{},
		&findcoordinator.Response{}, &joingroup.Response{}, &syncgroup.Response{}, &heartbeat.Response{}, &leavegroup.Response{},
		&offsetcommit.Response{}, &offsetfetch.Response{}, &saslhandshake.Response{}, &saslauthenticate.Response{},
	} {
		all[m.ApiKey()] = newMessage(reflect.TypeOf(m).Elem())
	}

	return all
}()

// message is an answer in all its versions.
type message struct {
	min, max int16
	shapes   []shape // by version, from min on
	flexible []bool
}

func newMessage(t reflect.Type) message {
	m := message{min: 1<<15 - 1}
	flexibleFrom := int16(1<<15 - 1)
	for field := range fieldsOf(t) {
		for _, tag := range field.tags {
			m.min, m.max = min(m.min, tag.min), max(m.max, tag.max)
			if tag.tagged {
				flexibleFrom = min(flexibleFrom, tag.min)
			}
		}
	}
	for v := m.min; v <= m.max; v++ {
		flexible := v >= flexibleFrom
		m.shapes = append(m.shapes, shapeOf(t, v, flexible))
		m.flexible = append(m.flexible, flexible)
	}

	return m
}

func isChecked(r request) bool {
	m, ok := messages[r.key]

	return ok && r.version >= m.min && r.version <= m.max
}

// checkAnswer reports whether an answer holds what it claims to.
func checkAnswer(r request, body []byte) error {
	m := messages[r.key]
	c := &cursor{data: body}
	if m.flexible[r.version-m.min] {
		c.skipTags(nil)
	}
	m.shapes[r.version-m.min](c)
	if !c.bad && r.key == protocol.SyncGroup {
		c.checkAssignment()
	}
	if c.bad {
		return fmt.Errorf("%w: %v, version %d, does not hold what it claims to", ErrMalformed, r.key, r.version)
	}

	return nil
}

// shape walks over a value.
type shape func(*cursor)

type field struct {
	t    reflect.Type
	tags []fieldTag
}

type fieldTag struct {
	min, max int16
	tagged   bool // it is one, or only says that the message is flexible
	id       int  // of a tagged field, or -1
}

// fieldsOf ranges over the fields of a struct that are on the wire.
func fieldsOf(t reflect.Type) func(yield func(field) bool) {
	return func(yield func(field) bool) {
		for _, f := range reflect.VisibleFields(t) {
			if f.PkgPath != "" && f.Name != "_" {
				continue
			}
			if !yield(field{f.Type, parseTags(f.Tag.Get("kafka"))}) {
				return
			}
		}
	}
}

// parseTags reads what kafka-go writes as min=v0,max=v3,tag=1|min=v4,max=v5. The types are known,
// so nothing can be wrong with it.
func parseTags(all string) (tags []fieldTag) {
	for one := range strings.SplitSeq(all, "|") {
		tag := fieldTag{min: -1, max: -1, id: -1}
		for option := range strings.SplitSeq(one, ",") {
			name, value, _ := strings.Cut(option, "=")
			n, _ := strconv.Atoi(strings.TrimPrefix(value, "v"))
			switch name {
			case "min":
				tag.min = int16(n) //nolint:gosec // It is a version.
			case "max":
				tag.max = int16(n) //nolint:gosec // It is a version.
			case "tag":
				tag.tagged = true
				if value != "" {
					tag.id = n
				}
			}
		}
		if tag.min >= 0 {
			tags = append(tags, tag)
		}
	}

	return tags
}

func shapeOf(t reflect.Type, version int16, flexible bool) shape {
	switch t.Kind() {
	case reflect.Bool, reflect.Int8:
		return func(c *cursor) { c.skip(1) }
	case reflect.Int16:
		return func(c *cursor) { c.skip(2) }
	case reflect.Int32:
		return func(c *cursor) { c.skip(4) }
	case reflect.Int64, reflect.Float64:
		return func(c *cursor) { c.skip(8) }
	case reflect.String:
		if flexible {
			return func(c *cursor) { c.skip(c.compactLength()) }
		}

		return func(c *cursor) { c.skip(max(0, int64(c.int16()))) }
	case reflect.Slice:
		return sliceOf(t.Elem(), version, flexible)
	case reflect.Struct:
		return structOf(t, version, flexible)
	default:
		panic("wire: a message of kafka-go has a field of type " + t.String())
	}
}

func sliceOf(elem reflect.Type, version int16, flexible bool) shape {
	length := func(c *cursor) int64 { return max(0, int64(c.int32())) }
	if flexible {
		length = (*cursor).compactLength
	}
	if elem.Kind() == reflect.Uint8 {
		return func(c *cursor) {
			n, at := length(c), c.at
			if c.skip(n); !c.bad {
				c.latest = c.data[at:c.at]
			}
		}
	}
	one := shapeOf(elem, version, flexible)
	least := max(1, leastOf(one))

	return func(c *cursor) {
		n := length(c)
		if n > c.left()/least {
			c.bad = true // kafka-go would make room for all of them.
		}
		for ; n > 0 && !c.bad; n-- {
			one(c)
		}
	}
}

// leastOf is how many bytes a value takes at least: those that it takes if all is zero.
func leastOf(s shape) int64 {
	const enough = 1 << 10
	c := &cursor{data: make([]byte, enough)}
	s(c)

	return int64(c.at)
}

func structOf(t reflect.Type, version int16, flexible bool) shape {
	var fields []shape
	tagged := make(map[uint64]shape)
	for field := range fieldsOf(t) {
		for _, tag := range field.tags {
			if version < tag.min || version > tag.max {
				continue
			}
			switch {
			case !tag.tagged:
				fields = append(fields, shapeOf(field.t, version, flexible))
			case tag.id >= 0:
				tagged[uint64(tag.id)] = shapeOf(field.t, version, flexible)
			}

			break
		}
	}

	return func(c *cursor) {
		for _, f := range fields {
			f(c)
		}
		if flexible {
			c.skipTags(tagged)
		}
	}
}

// checkAssignment checks the partitions that the group's leader has dealt out to this member. It
// is another client, and kafka-go makes room for as many topics as it claims.
func (c *cursor) checkAssignment() {
	const versionBytes, leastTopicBytes = 2, 6 // a name and a number of partitions
	if len(c.latest) == 0 {
		return
	}
	a := &cursor{data: c.latest}
	a.skip(versionBytes)
	topics := int64(a.int32())
	c.bad = a.bad || topics > a.left()/leastTopicBytes
}

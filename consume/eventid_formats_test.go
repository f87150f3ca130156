package consume_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

const jsonEvent = "application/cloudevents+json"

// structured makes a record that says that its value is a CloudEvent.
func structured(contentType, v string, pairs ...string) consume.Record {
	m := headers(append([]string{"content-type", contentType}, pairs...)...)
	m.Value = []byte(v)

	return m
}

func TestCloudEvents(t *testing.T) {
	t.Parallel()
	strategy := consume.CloudEvents()
	const event = `{"specversion":"1.0","data":{"id":"x","source":"y"},"id":"A1","source":"/a"}`
	const want = "2:/a:A1"
	testIDs(t, map[string]idCase{
		"binary":                         {strategy, headers("ce_specversion", "1.0", "ce_id", "A1", "ce_source", "/a", "content-type", "application/json"), want, ""},
		"binary, structured before":      {strategy, headers("content-type", jsonEvent, "content-type", "text/plain", "ce_id", "A1", "ce_source", "/a"), want, ""},
		"binary, the last of two":        {strategy, headers("ce_id", "0", "ce_source", "/a", "ce_id", "A1"), want, ""},
		"binary, length is in bytes":     {strategy, headers("ce_id", "1", "ce_source", "é"), "2:é:1", ""},
		"binary, no id":                  {strategy, headers("ce_source", "/a"), "", `there is no header "ce_id"`},
		"binary, no source":              {strategy, headers("ce_id", "A1"), "", `there is no header "ce_source"`},
		"binary, empty id":               {strategy, headers("ce_id", "", "ce_source", "/a"), "", `the header "ce_id" is empty`},
		"binary, empty source":           {strategy, headers("ce_id", "A1", "ce_source", ""), "", `the header "ce_source" is empty`},
		"no CloudEvent":                  {strategy, value(event), "", "there is no header"},
		"structured":                     {strategy, structured(jsonEvent, event), want, ""},
		"structured, charset":            {strategy, structured(jsonEvent+"; charset=UTF-8", event), want, ""},
		"structured, charset, no blank":  {strategy, structured(jsonEvent+";charset=utf-8", event), want, ""},
		"structured, in another case":    {strategy, structured("Application/CloudEvents+JSON", event), want, ""},
		"structured, source first":       {strategy, structured(jsonEvent, `{"source":"/a","id":"A1","data":{}}`), want, ""},
		"structured, value counts":       {strategy, structured(jsonEvent, event, "ce_id", "B", "ce_source", "/b"), want, ""},
		"structured, first of two":       {strategy, structured(jsonEvent, `{"id":"A1","id":{"source":"/b"},"source":"/a"}`), want, ""},
		"structured, rest not looked at": {strategy, structured(jsonEvent, `{"id":"A1","source":"/a",`), want, ""},
		"structured, no id":              {strategy, structured(jsonEvent, `{"source":"/a"}`), "", "id: it does not exist"},
		"structured, no source":          {strategy, structured(jsonEvent, `{"id":"A1"}`), "", "source: it does not exist"},
		"structured, neither":            {strategy, structured(jsonEvent, `{}`), "", "source and id: it does not exist"},
		"structured, only in headers":    {strategy, structured(jsonEvent, `{}`, "ce_id", "A1", "ce_source", "/a"), "", "it does not exist"},
		"structured, null id":            {strategy, structured(jsonEvent, `{"id":null,"source":"/a"}`), "", "id: it is not a string"},
		"structured, number":             {strategy, structured(jsonEvent, `{"id":1,"source":"/a"}`), "", "id: it is not a string"},
		"structured, empty source":       {strategy, structured(jsonEvent, `{"id":"A1","source":""}`), "", "source: it is empty"},
		"structured, not UTF-8":          {strategy, structured(jsonEvent, "{\"id\":\"\xe9\",\"source\":\"/a\"}"), "", "id: it is not valid Unicode"},
		"structured, batch in JSON":      {strategy, structured(jsonEvent, `[`+event+`]`), "", "there is no JSON object"},
		"structured, no JSON":            {strategy, structured(jsonEvent, "\x00"), "", "invalid character"},
		"structured, cut off":            {strategy, structured(jsonEvent, `{"id":`), "", "EOF"},
		"structured, tombstone":          {strategy, headers("content-type", jsonEvent), "", "there is no JSON object"},
		"structured, too deep":           {strategy, structured(jsonEvent, `{"data":`+strings.Repeat("[", 1<<20)), "", "exceeded max depth"},
		"Avro with headers":              {strategy, structured("application/cloudevents+avro", "\x00", "ce_id", "A1", "ce_source", "/a"), want, ""},
		"Avro without headers":           {strategy, structured("application/cloudevents+avro", "\x00"), "", "there is no header"},
		"batch":                          {strategy, structured("application/cloudevents-batch+json", `[`+event+`]`), "", "there is no header"},
	})
}

// No source and id, whatever is in them, give the id of another pair.
func TestCloudEventsDiffer(t *testing.T) {
	t.Parallel()
	parts := []string{"a", "b", ":", "::", "a:", ":a", "1:a", "1:a:b", "3:1:a", "1", "11", "2:a", " ", "a b", "a\x00", "\x00"}
	seen := make(map[string]string)
	for _, source := range parts {
		for _, id := range parts {
			got, err := consume.CloudEvents()(headers("ce_source", source, "ce_id", id))
			pair := fmt.Sprintf("%q and %q", source, id)
			if other, ok := seen[got]; ok || err != nil {
				t.Errorf("%s have the id of %s: %q, %v", pair, other, got, err)
			}
			seen[got] = pair
		}
	}
}

func TestDebeziumOutbox(t *testing.T) {
	t.Parallel()
	strategy := consume.DebeziumOutbox()
	const id = "4d47e190-0402-4048-bc2c-89dd54343cdc"
	testIDs(t, map[string]idCase{
		"plain":                 {strategy, headers("id", id), id, ""},
		"quoted":                {strategy, headers("id", `"`+id+`"`), id, ""},
		"quoted, escapes":       {strategy, headers("id", `"a\"\u00e9"`), `a"é`, ""},
		"quoted, white space":   {strategy, headers("id", "\"a\" \n"), "a", ""},
		"number":                {strategy, headers("id", "9007199254740993"), "9007199254740993", ""},
		"braces":                {strategy, headers("id", "{"+id+"}"), "{" + id + "}", ""},
		"quote inside":          {strategy, headers("id", `a"b"`), `a"b"`, ""},
		"last of two":           {strategy, headers("id", "a", "id", `"b"`), "b", ""},
		"missing":               {strategy, value("{}"), "", `there is no header "id"`},
		"empty":                 {strategy, headers("id", ""), "", "is empty"},
		"null":                  {strategy, headers("id", "null"), "", "is null"},
		"quoted, empty":         {strategy, headers("id", `""`), "", "it is empty"},
		"quoted, cut off":       {strategy, headers("id", `"a`), "", "unexpected end of JSON input"},
		"one quote":             {strategy, headers("id", `"`), "", "unexpected end of JSON input"},
		"quoted, more behind":   {strategy, headers("id", `"a"b`), "", "invalid character"},
		"quoted, not UTF-8":     {strategy, headers("id", "\"\xe9\""), "", "not valid Unicode"},
		"quoted, half a symbol": {strategy, headers("id", `"\udc00"`), "", "not valid Unicode"},
	})
}

func TestWatermill(t *testing.T) {
	t.Parallel()
	strategy := consume.Watermill()
	testIDs(t, map[string]idCase{
		"uuid":    {strategy, headers("_watermill_message_uuid", "u"), "u", ""},
		"missing": {strategy, headers("uuid", "u"), "", `there is no header "_watermill_message_uuid"`},
		"empty":   {strategy, headers("_watermill_message_uuid", ""), "", "is empty"},
	})
}

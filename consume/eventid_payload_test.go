package consume_test

import (
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func TestPayloadField(t *testing.T) {
	t.Parallel()
	field, nested := consume.PayloadField("id"), consume.PayloadField("order.id")
	const missing, noObject, unfit = "it does not exist", "there is no JSON object", "neither a string nor a number"
	testIDs(t, map[string]idCase{
		"string":                    {field, value(`{"a":[1,{"id":2}],"id":"x","b":1}`), "x", ""},
		"escapes":                   {field, value(`{"\u0069d":"\u00e9\ud83d\ude00"}`), "é😀", ""},
		"white space":               {field, value(" {\n\"id\"\t: \"x\"}"), "x", ""},
		"number":                    {field, value(`{"id":42}`), "42", ""},
		"number as it is written":   {field, value(`{"id":1.0}`), "1.0", ""},
		"number beyond 2^53":        {field, value(`{"id":9007199254740993}`), "9007199254740993", ""},
		"number beyond 64 bits":     {field, value(`{"id":-12345678901234567890123e-400}`), "-12345678901234567890123e-400", ""},
		"nested":                    {nested, value(`{"id":1,"order":{"lines":[{"id":1}],"id":"x"}}`), "x", ""},
		"first of two":              {field, value(`{"id":"a","id":"b"}`), "a", ""},
		"first of two is null":      {field, value(`{"id":null,"id":"b"}`), "", unfit},
		"first of two parents":      {nested, value(`{"order":{},"order":{"id":"b"}}`), "", missing},
		"rest is not looked at":     {field, value(`{"id":"a",`), "a", ""},
		"name with a dot":           {nested, value(`{"order.id":"a"}`), "", missing},
		"empty path":                {consume.PayloadField(""), value(`{"id":"a"}`), "", `the field "" of the payload`},
		"missing":                   {field, value(`{"ID":"a"}`), "", `the field "id" of the payload: it does not exist`},
		"there but nested":          {field, value(`{"order":{"id":"a"}}`), "", missing},
		"null":                      {field, value(`{"id":null}`), "", unfit},
		"true":                      {field, value(`{"id":true}`), "", unfit},
		"false":                     {field, value(`{"id":false}`), "", unfit},
		"object":                    {field, value(`{"id":{"id":"a"}}`), "", unfit},
		"array":                     {field, value(`{"id":["a"]}`), "", unfit},
		"empty":                     {field, value(`{"id":""}`), "", "it is empty"},
		"not UTF-8":                 {field, value("{\"id\":\"caf\xe9\"}"), "", "not valid Unicode"},
		"half a surrogate":          {field, value(`{"id":"\ud800"}`), "", "not valid Unicode"},
		"in an array":               {nested, value(`{"order":[{"id":"a"}]}`), "", noObject},
		"of a string":               {nested, value(`{"order":"a"}`), "", noObject},
		"of null":                   {nested, value(`{"order":null}`), "", noObject},
		"not an object":             {field, value(`["id","a"]`), "", noObject},
		"empty value":               {field, value(""), "", noObject},
		"tombstone":                 {field, consume.Record{}, "", noObject},
		"no JSON":                   {field, value("\x00\x01"), "", "invalid character"},
		"invalid before the field":  {field, value(`{"a":01,"id":"x"}`), "", "invalid character"},
		"comma before the field":    {field, value(`{,"id":"x"}`), "", "invalid character"},
		"no comma before the field": {field, value(`{"a":1 "id":"x"}`), "", "invalid character"},
		"no colon":                  {field, value(`{"id" "x"}`), "", "invalid character"},
		"number with a tail":        {field, value(`{"id":1x}`), "", "it is cut off"},
		"number cut off":            {field, value(`{"id":12`), "", "it is cut off"},
		"number, then space":        {field, value("{\"id\":12 \n,"), "12", ""},
		"cut off in a name":         {field, value(`{"a":1,"i`), "", "unexpected EOF"},
		"cut off in the field":      {field, value(`{"id":"x`), "", "unexpected EOF"},
		"cut off before the field":  {field, value(`{"id":`), "", "EOF"},
		"deep":                      {field, value(`{"a":` + strings.Repeat("[", 9000) + strings.Repeat("]", 9000) + `,"id":"x"}`), "x", ""},
		"too deep":                  {field, value(`{"a":` + strings.Repeat("[", 1<<20)), "", "exceeded max depth"},
		"too deep, objects":         {field, value(strings.Repeat(`{"a":`, 1<<18)), "", "exceeded max depth"},
		"deep in the field":         {field, value(`{"id":` + strings.Repeat("[", 1<<20)), "", unfit},
		"path deeper than the JSON": {consume.PayloadField(strings.Repeat("a.", 1<<10) + "a"), value(strings.Repeat(`{"a":`, 1<<10) + "1"), "", noObject},
	})
}

func FuzzPayloadField(f *testing.F) {
	f.Add("order.id", []byte(`{"order":{"id":"a"}}`))
	f.Add("a", []byte(strings.Repeat(`{"a":`, 100)))
	f.Fuzz(func(t *testing.T, path string, value []byte) {
		id, err := consume.PayloadField(path)(consume.Record{Value: value})
		if (err == nil) == (id == "") {
			t.Fatalf("%q, %v", id, err)
		}
	})
}

package engine

import (
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/nova-events/idempotent-consumer/consume"
)

func recordsOf(n, size int) []*consume.Record {
	records := make([]*consume.Record, n)
	for i := range records {
		records[i] = &consume.Record{
			Topic: "orders", Offset: int64(i), Key: fmt.Append(nil, "key-", i), Value: []byte(strings.Repeat("v", size)),
			Headers: []consume.RecordHeader{{Key: consume.DefaultEventIDHeader, Value: fmt.Append(nil, "event-", i)}, {Key: "null"}},
		}
	}

	return records
}

func expecting(records []*consume.Record) (c copies) {
	for _, record := range records {
		c.expect(record)
	}

	return c
}

// A copy equals its original, null values included, and shares no byte with it or with another copy.
func TestCopiesShareNothing(t *testing.T) {
	t.Parallel()
	records := recordsOf(3, 5)
	records[0].Key, records[0].Headers = nil, nil
	records[1].Value, records[1].Headers = []byte{}, []consume.RecordHeader{}
	made := expecting(records)
	for i, record := range records {
		if copied := made.of(record); !reflect.DeepEqual(copied, *record) {
			t.Errorf("copy %d is %+v, want %+v", i, copied, *record)
		}
	}
	made = expecting(records)
	first, last := made.of(records[1]), made.of(records[2])
	_ = append(first.Key, "spoiled"...)
	_ = append(first.Value, "spoiled"...)
	_ = append(first.Headers, consume.RecordHeader{Key: "spoiled"})
	if !reflect.DeepEqual(last, *records[2]) {
		t.Errorf("what was appended to a copy is in the next one: %+v", last)
	}
	for _, b := range [][]byte{last.Key, last.Value, last.Headers[0].Value} {
		clear(b)
	}
	last.Headers[0].Key = "spoiled"
	if want := recordsOf(3, 5)[2]; !reflect.DeepEqual(records[2], want) {
		t.Errorf("the original became %+v, want %+v", records[2], want)
	}
}

// BenchmarkCopies copies what a batch handler is given.
func BenchmarkCopies(b *testing.B) {
	for _, size := range []int{200, 2000} {
		b.Run(fmt.Sprint(size, "_bytes"), func(b *testing.B) {
			records := recordsOf(500, size)
			b.ReportAllocs()
			for b.Loop() {
				made := expecting(records)
				for _, record := range records {
					_ = made.of(record)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*len(records)), "ns/record")
		})
	}
}

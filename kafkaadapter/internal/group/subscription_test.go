package group

import (
	"encoding/hex"
	"errors"
	"math"
	"reflect"
	"runtime"
	"testing"
)

// What Apache Kafka 4.3.1 makes of a subscription to orders and refunds and of an assignment of
// orders/0, orders/2 and refunds/1, by version (ConsumerProtocol).
var (
	javaSubscriptions = []string{
		"00000000000200066f72646572730007726566756e6473000000020102",
		"00010000000200066f72646572730007726566756e64730000000201020000000100066f7264657273000000020000000000000002",
		"00020000000200066f72646572730007726566756e64730000000201020000000100066f726465727300000002000000000000000200000005",
		"00030000000200066f72646572730007726566756e64730000000201020000000100066f72646572730000000200000000000000020000000500067261636b2d31",
	}
	javaAssignments = []string{
		"00000000000200066f72646572730000000200000000000000020007726566756e647300000001000000010000000109",
		"00030000000200066f72646572730000000200000000000000020007726566756e647300000001000000010000000109",
	}
)

func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}

	return b
}

func TestSubscriptionsOfJava(t *testing.T) {
	t.Parallel()
	want := Subscription{Topics: []string{"orders", "refunds"}, UserData: []byte{1, 2}, Generation: -1}
	for version, text := range javaSubscriptions {
		switch version {
		case 1:
			want.Owned = []TopicPartitions{{"orders", []int{0, 2}}}
		case 2:
			want.Generation = 5
		case 3:
			want.Rack = "rack-1"
		}
		got, err := DecodeSubscription(unhex(t, text))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("version %d: %+v, %v", version, got, err)
		}
	}
	later := unhex(t, javaSubscriptions[3]+"0102030405") // with fields that nobody knows yet
	later[1] = 9
	if got, err := DecodeSubscription(later); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("version 9: %+v, %v", got, err)
	}
	// Nothing but the topic: user data, owned partitions and rack are null.
	got, err := DecodeSubscription(unhex(t, "00030000000100066f7264657273ffffffff00000000ffffffffffff"))
	if err != nil || len(got.Topics) != 1 || got.Generation != -1 || got.Rack != "" {
		t.Errorf("%+v, %v", got, err)
	}
}

// kafka-go's ConsumerGroup says that it is version 1, and leaves out what that version has more.
func TestSubscriptionOfKafkaGo(t *testing.T) {
	t.Parallel()
	got, err := DecodeSubscription(unhex(t, "00010000000100066f726465727300000000"))
	if err != nil || !reflect.DeepEqual(got.Topics, []string{"orders"}) {
		t.Errorf("%+v, %v", got, err)
	}
}

// What this package writes is what Java writes in version 0.
func TestWhatJavaReads(t *testing.T) {
	t.Parallel()
	s := Subscription{Topics: []string{"orders", "refunds"}, UserData: []byte{1, 2}}
	if got := hex.EncodeToString(s.encode()); got != javaSubscriptions[0] {
		t.Error(got)
	}
	a := Assignment{[]TopicPartitions{{"orders", []int{0, 2}}, {"refunds", []int{1}}}, []byte{9}}
	if got := hex.EncodeToString(a.encode()); got != javaAssignments[0] {
		t.Error(got)
	}
}

func TestAssignmentsOfJava(t *testing.T) {
	t.Parallel()
	want := Assignment{[]TopicPartitions{{"orders", []int{0, 2}}, {"refunds", []int{1}}}, []byte{9}}
	for _, text := range javaAssignments {
		if got, err := DecodeAssignment(unhex(t, text)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	}
	for _, text := range []string{"", "000300000000ffffffff", "000000000000"} {
		if got, err := DecodeAssignment(unhex(t, text)); err != nil || len(got.Partitions) != 0 {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

func TestHostileBytesAreRefused(t *testing.T) { //nolint:paralleltest // It measures what is allocated.
	for name, text := range map[string]string{
		"nothing":               "",
		"half a version":        "00",
		"negative version":      "ffff00000000ffffffff",
		"2^31 topics":           "00007fffffff",
		"one topic too many":    "00000000000200066f7264657273ffffffff",
		"a long name":           "0000000000017fff6f7264657273ffffffff",
		"long user data":        "0000000000007fffffff",
		"2^31 owned topics":     "000100000000ffffffff7fffffff",
		"2^31 owned partitions": "000100000000ffffffff0000000100066f72646572737fffffff",
		"a negative partition":  "000100000000ffffffff0000000100066f726465727300000001ffffffff",
	} {
		got, err := DecodeSubscription(unhex(t, text))
		if !errors.Is(err, errUnreadable) || got.Topics != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
		if n := allocated(1<<20, func() { _, _ = DecodeSubscription(unhex(t, text)) }); n > 1<<20 {
			t.Errorf("%s: %d bytes were allocated", name, n)
		}
	}
	for _, text := range []string{"00", "0000", "00007fffffff", "ffff00000000", "00000000000100066f72646572737fffffff", "000000000000000000ff"} {
		if got, err := DecodeAssignment(unhex(t, text)); !errors.Is(err, errUnreadable) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
}

// Whatever a member writes, nothing panics and little is allocated; what can be read can be written
// and read again.
func FuzzMetadata(f *testing.F) {
	for _, text := range append(javaSubscriptions, javaAssignments...) {
		f.Add(unhex(f, text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s, errS := DecodeSubscription(data)
		a, errA := DecodeAssignment(data)
		bound := uint64(1<<20 + 50*len(data))
		if n := allocated(bound, func() {
			_, _ = DecodeSubscription(data)
			_, _ = DecodeAssignment(data)
		}); n > bound {
			t.Errorf("%d bytes take up %d", len(data), n)
		}
		if errS == nil {
			if got, err := DecodeSubscription(s.encode()); err != nil || len(got.Topics) != len(s.Topics) || string(got.UserData) != string(s.UserData) {
				t.Errorf("%+v became %+v, %v", s, got, err)
			}
		}
		if errA == nil {
			if got, err := DecodeAssignment(a.encode()); err != nil || len(got.Partitions) != len(a.Partitions) || string(got.UserData) != string(a.UserData) {
				t.Errorf("%+v became %+v, %v", a, got, err)
			}
		}
	})
}

// allocated returns how many bytes f allocates. The runtime counts what the whole process allocates, so a
// value above bound may be another goroutine's: it is measured again, and the least of five counts.
func allocated(bound uint64, f func()) uint64 {
	least := uint64(math.MaxUint64)
	for range 5 {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		f()
		runtime.ReadMemStats(&after)
		if least = min(least, after.TotalAlloc-before.TotalAlloc); least <= bound {
			break
		}
	}

	return least
}

package wire

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/apiversions"
	"github.com/segmentio/kafka-go/protocol/listoffsets"
	"github.com/segmentio/kafka-go/protocol/metadata"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// sampleMetadata is an answer with something in each of its fields.
func sampleMetadata() *metadata.Response {
	return &metadata.Response{
		Brokers: []metadata.ResponseBroker{{NodeID: 1, Host: "a", Port: 9092, Rack: "r"}, {NodeID: 2, Host: "b", Port: 9092}}, ClusterID: "c", ControllerID: 1,
		Topics: []metadata.ResponseTopic{{Name: "t", Partitions: []metadata.ResponsePartition{
			{LeaderID: 1, ReplicaNodes: []int32{1, 2}, IsrNodes: []int32{1}}, {PartitionIndex: 1, LeaderID: 2},
		}}},
	}
}

func samples() map[int16]protocol.Message {
	return map[int16]protocol.Message{0: &apiversions.Response{ApiKeys: []apiversions.ApiKeyResponse{{ApiKey: 1, MaxVersion: 11}}}, 1: sampleMetadata(), 8: sampleMetadata(),
		5: &listoffsets.Response{Topics: []listoffsets.ResponseTopic{{Topic: "t", Partitions: []listoffsets.ResponsePartition{{Offset: 7}}}}},
		4: &syncgroup.Response{Assignments: append([]byte{0, 1, 0, 0, 0, 1, 0, 1, 't', 0, 0, 0, 1, 0, 0, 0, 3}, 0xff, 0xff, 0xff, 0xff)},
	}
}

func encoded(t testing.TB, version int16, m protocol.Message) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := protocol.WriteResponse(&b, version, 7, m); err != nil {
		t.Fatal(err)
	}

	return b.Bytes()
}

// fakeConn is a connection to a broker of which the answers are given.
type fakeConn struct {
	net.Conn

	answers io.Reader
}

func (f *fakeConn) Read(b []byte) (int, error)  { return f.answers.Read(b) }
func (f *fakeConn) Write(b []byte) (int, error) { return len(b), nil }

// askedFor returns a connection that was asked for this and answers so.
func askedFor(t testing.TB, told *error, key protocol.ApiKey, version int16, answers io.Reader) *Conn {
	t.Helper()
	c := Check(&fakeConn{answers: answers}, func(err error) { *told = err })
	request := binary.BigEndian.AppendUint32(nil, 11)
	request = binary.BigEndian.AppendUint16(request, uint16(key))
	request = binary.BigEndian.AppendUint16(request, uint16(version))
	request = binary.BigEndian.AppendUint32(request, 7)
	for _, b := range append(request, 0xff, 0xff, 0) { // One byte at a time, and twice.
		if _, err := c.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Write(append(request, 0xff, 0xff, 0)); err != nil {
		t.Fatal(err)
	}

	return c
}

func TestGoodAnswersComeAsTheyAre(t *testing.T) {
	t.Parallel()
	for version, m := range samples() {
		answer := encoded(t, version, m)
		all := bytes.Repeat(answer, 2)
		for name, from := range map[string]io.Reader{
			"at once": bytes.NewReader(all), "by bytes": iotest.OneByteReader(bytes.NewReader(all)), "by halves": iotest.HalfReader(bytes.NewReader(all)),
		} {
			var told error
			got, err := io.ReadAll(bufio.NewReader(askedFor(t, &told, m.ApiKey(), version, from)))
			if err != nil || told != nil || !bytes.Equal(got, all) {
				t.Errorf("%T, version %d, %s: %d of %d bytes, %v, %v", m, version, name, len(got), len(all), err, told)
			}
		}
	}
}

// A read that ends at its deadline goes on where it was.
func TestReadGoesOnAfterADeadline(t *testing.T) {
	t.Parallel()
	m := sampleMetadata()
	answer := encoded(t, 8, m)
	for cut := range answer {
		var told error
		late := io.MultiReader(iotest.TimeoutReader(iotest.DataErrReader(bytes.NewReader(answer[:cut]))), bytes.NewReader(answer[cut:]))
		c := askedFor(t, &told, protocol.Metadata, 8, late)
		var got []byte
		buffer := make([]byte, 10)
		for len(got) < len(answer) {
			n, err := c.Read(buffer)
			got = append(got, buffer[:n]...)
			if err != nil && !errors.Is(err, iotest.ErrTimeout) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Fatalf("cut at %d: %v", cut, err)
			}
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				break
			}
		}
		if told != nil || !bytes.HasPrefix(answer, got) {
			t.Errorf("cut at %d: %d bytes of %d, %v", cut, len(got), len(answer), told)
		}
	}
}

func TestRecordsPassThrough(t *testing.T) {
	t.Parallel()
	answer := binary.BigEndian.AppendUint32(nil, 4+1<<20)
	answer = append(binary.BigEndian.AppendUint32(answer, 7), bytes.Repeat([]byte("x"), 1<<20)...)
	var told error
	got, err := io.ReadAll(askedFor(t, &told, protocol.Fetch, 11, bytes.NewReader(answer)))
	if err != nil || told != nil || !bytes.Equal(got, answer) {
		t.Errorf("%d of %d bytes, %v, %v", len(got), len(answer), err, told)
	}
}

func TestMalformedAnswersAreRefused(t *testing.T) {
	t.Parallel()
	patched := func(version int16, m protocol.Message, at int, to uint32) []byte {
		answer := encoded(t, version, m)
		binary.BigEndian.PutUint32(answer[at:], to)

		return answer
	}
	versions, topics := samples()[0], sampleMetadata()
	for name, test := range map[string]struct {
		key     protocol.ApiKey
		version int16
		answer  []byte
	}{
		"2^31 API keys":        {protocol.ApiVersions, 0, patched(0, versions, 10, 1<<31-1)},
		"one key too many":     {protocol.ApiVersions, 0, patched(0, versions, 10, 2)},
		"2^31 brokers":         {protocol.Metadata, 1, patched(1, topics, 8, 1<<31-1)},
		"a long name":          {protocol.Metadata, 1, patched(1, topics, 16, 0x7fff<<16)},
		"2^31 offsets":         {protocol.ListOffsets, 5, patched(5, samples()[5], 12, 1<<31-1)},
		"2^31 assigned topics": {protocol.SyncGroup, 0, patched(0, samples()[4], 16, 1<<31-1)},
		"another request":      {protocol.Metadata, 1, patched(1, topics, 4, 8)},
		"no length":            {protocol.Metadata, 1, patched(1, topics, 0, 3)},
		"2 GB":                 {protocol.Metadata, 1, patched(1, topics, 0, 1<<31-1)},
		"negative length":      {protocol.Metadata, 1, patched(1, topics, 0, 1<<31+4)},
		"TLS":                  {protocol.ApiVersions, 0, []byte{0x15, 3, 3, 0, 2, 2, 70, 0}},
	} {
		var told error
		got, err := io.ReadAll(askedFor(t, &told, test.key, test.version, bytes.NewReader(test.answer)))
		if !errors.Is(err, ErrMalformed) || len(got) > 0 || !errors.Is(told, ErrMalformed) {
			t.Errorf("%s: %d bytes, %v, told %v", name, len(got), err, told)
		}
		if name == "TLS" && !strings.Contains(err.Error(), "expects TLS") {
			t.Error(err)
		}
	}
}

func TestAnswerToNothingIsRefused(t *testing.T) {
	t.Parallel()
	var told error
	c := Check(&fakeConn{answers: bytes.NewReader(encoded(t, 1, sampleMetadata()))}, func(err error) { told = err })
	if _, err := c.Read(make([]byte, 100)); !errors.Is(err, ErrMalformed) || told == nil {
		t.Error(err, told)
	}
}

// A length alone takes up no memory.
func TestLengthIsNotAllocated(t *testing.T) { //nolint:paralleltest // It measures what is allocated.
	answer := binary.BigEndian.AppendUint32(nil, maxAnswerBytes)
	answer = append(binary.BigEndian.AppendUint32(answer, 7), 0, 0)
	var told error
	c := askedFor(t, &told, protocol.Metadata, 1, bytes.NewReader(answer))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := io.ReadAll(c); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 1<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
}

// What passes the check does not make kafka-go panic, nor allocate without bound.
func FuzzAnswer(f *testing.F) {
	for version, m := range samples() {
		f.Add(int16(m.ApiKey()), version, encoded(f, version, m)[answerHeader:])
	}
	f.Fuzz(func(t *testing.T, key, version int16, body []byte) {
		r := request{key: protocol.ApiKey(key), version: version}
		if !isChecked(r) || checkAnswer(r, body) != nil {
			return
		}
		answer := binary.BigEndian.AppendUint32(nil, uint32(4+len(body)))
		answer = append(binary.BigEndian.AppendUint32(answer, 7), body...)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, _, _ = protocol.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), r.key, version)
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > uint64(1<<20+100*len(body)) {
			t.Errorf("%v, version %d: %d bytes take up %d", r.key, version, len(body), n)
		}
	})
}

package franzadapter

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"testing"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"

	"github.com/nova-events/idempotent-consumer/internal/engine"
	"github.com/nova-events/idempotent-consumer/internal/topics"
)

// serveFetches is broker 1 to a connection: it answers all fetches with the same batch.
func serveFetches(conn net.Conn, batch []byte) {
	fetched := kmsg.NewPtrFetchResponse()
	fetched.SetVersion(1)
	topic, p := kmsg.NewFetchResponseTopic(), kmsg.NewFetchResponseTopicPartition()
	p.HighWatermark, p.RecordBatches = 10, batch
	topic.Topic, topic.Partitions = "t", append(topic.Partitions, p)
	fetched.Topics = append(fetched.Topics, topic)
	brokers := kmsg.NewPtrMetadataResponse()
	brokers.SetVersion(0)
	itself := kmsg.NewMetadataResponseBroker()
	itself.NodeID, itself.Host, itself.Port = 1, "broker", 9092
	brokers.Brokers = append(brokers.Brokers, itself)
	for {
		head := make([]byte, 12) // size, key, version and correlation id
		if _, err := io.ReadFull(conn, head); err != nil {
			return
		}
		if _, err := io.CopyN(io.Discard, conn, int64(binary.BigEndian.Uint32(head))-8); err != nil {
			return
		}
		response := kmsg.Response(fetched)
		if binary.BigEndian.Uint16(head[4:]) == uint16(kmsg.Metadata) {
			response = brokers
		}
		answer := response.AppendTo(append([]byte{0, 0, 0, 0}, head[8:]...))
		binary.BigEndian.PutUint32(answer, uint32(len(answer)-4))
		if _, err := conn.Write(answer); err != nil {
			return
		}
	}
}

// What is fetched for a request of an operator is held by nobody, and was not reserved either: neither an answer nor an error may
// change how much the others can have. Each gave back MaxBytes that it had never taken, until the budget bounded nothing.
func TestUncountedFetchLeavesTheBudgetAsItWas(t *testing.T) {
	t.Parallel()
	for name, dial := range map[string]func(context.Context, string, string) (net.Conn, error){
		"answered": func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go serveFetches(theirs, rawBatch(3, 0, -1, 1, "a"))

			return ours, nil
		},
		"malformed": func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go serveFetches(theirs, []byte("no batch"))

			return ours, nil
		},
		"no broker": func(context.Context, string, string) (net.Conn, error) { return nil, io.EOF },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, err := kgo.NewClient(kgo.SeedBrokers("broker:9092"), kgo.Dialer(dial), kgo.MaxVersions(kversion.V0_9_0()), kgo.RequestRetries(0))
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			config := Config{}.withDefaults()
			topic := topics.Topic{Name: "t", Partitions: 1, Leaders: []int32{1}}
			p := newPuller(client, newView([]topics.Topic{topic}), &config)
			s := &source{member: &member{puller: p, decompressor: kgo.DefaultDecompressor()}, partition: partition{"t", 0}, topic: topic}
			for range 3 {
				batch, err := s.Fetch(t.Context(), engine.Request{Offset: 3, Uncounted: true})
				if answered := err == nil; answered != (name == "answered") || answered && (len(batch.Records) != 1 || batch.Next != 4) {
					t.Fatalf("%+v, %v", batch, err)
				}
				if err == nil {
					batch.Release()
				}
			}
			if p.budget.used != 0 {
				t.Errorf("%d bytes of the budget are used, and nothing is held", p.budget.used)
			}
		})
	}
}

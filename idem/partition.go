package idem

import (
	"crypto/sha256"
	"encoding/binary"
	"os"
	"strconv"

	"github.com/google/uuid"
)

// Partition names a log of ordered records, in Kafka's terms.
type Partition struct {
	Topic  string
	Number int32

	// TopicID tells a topic from a deleted one of the same name. Zero if unknown.
	TopicID uuid.UUID
}

// ofRecord reports whether a record can be in it.
func (p Partition) ofRecord() bool { return p.Topic != "" && p.Number >= 0 }

func (p Partition) String() string { return p.Topic + "/" + strconv.Itoa(int(p.Number)) }

// place names a record in the partition.
func (p Partition) place(offset int64) string {
	place := p.String() + "/" + strconv.FormatInt(offset, 10)
	if p.TopicID != uuid.Nil {
		place += " of " + p.TopicID.String()
	}

	return place
}

// lockKey returns the key of the advisory lock that transactions of the partition hold.
func (g *Guard) lockKey(p Partition) int64 {
	var name []byte
	name = append(name, "idem.partition\x00"+g.config.Schema+"\x00"...)
	name = binary.BigEndian.AppendUint64(name, uint64(g.consumer)) //nolint:gosec // All 64 bits are meant.
	name = binary.BigEndian.AppendUint32(name, uint32(p.Number))   //nolint:gosec // All 32 bits are meant.
	hash := sha256.Sum256(append(name, p.Topic...))

	return int64(binary.BigEndian.Uint64(hash[:8])) //nolint:gosec // All 64 bits are meant.
}

func nullable(id uuid.UUID) uuid.NullUUID { return uuid.NullUUID{UUID: id, Valid: id != uuid.Nil} }

// ownerName is for people who look at the table.
func ownerName() *string {
	host, err := os.Hostname()
	if err != nil {
		host = "?"
	}
	name := host + "/" + strconv.Itoa(os.Getpid())

	return &name
}

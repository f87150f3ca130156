package idem

import (
	"context"
	"crypto/sha256"
	"encoding/binary"

	"github.com/nova-events/idempotent-consumer/db"
)

// ParkedKeys are the record keys of a partition that have unresolved dead letters. To keep the order
// of a key's records, park the later ones behind those. The map holds hashes, so two keys may be
// mixed up, and it does not learn what others resolve. StoreDeadLetter finds out both
// (ErrNotParked).
type ParkedKeys map[int64]int64 // the offset of the last dead letter, by the key's hash

// Has reports whether the records of the key are to be parked. Those without a key never are.
func (p ParkedKeys) Has(key []byte) bool {
	if len(p) == 0 || key == nil {
		return false
	}
	_, ok := p[keyHash(key)]

	return ok
}

// Add adds a record of the key that is stored as a dead letter.
func (p ParkedKeys) Add(key []byte, offset int64) {
	if key != nil {
		hash := keyHash(key)
		p[hash] = max(p[hash], offset)
	}
}

// Remove says that no dead letter of the key before offset is unresolved.
func (p ParkedKeys) Remove(key []byte, offset int64) {
	if hash := keyHash(key); p[hash] < offset {
		delete(p, hash)
	}
}

// keyHash replaces a record key, which may be too long for an index.
func keyHash(key []byte) int64 {
	hash := sha256.Sum256(key)

	return int64(binary.BigEndian.Uint64(hash[:8])) //nolint:gosec // All 64 bits are meant.
}

// ParkedKeys returns the record keys that have unresolved dead letters. While a partition has an owner,
// nobody else adds any, so one call is enough. (Unfenced owners do not know of each other.)
func (o *Owner) ParkedKeys(ctx context.Context) (ParkedKeys, error) {
	keys := ParkedKeys{}
	err := o.onPool(ctx, func(g *Guard, conn db.DBTX) error {
		rows, err := g.queries.DeadLetterParkedKeys(ctx, conn, db.DeadLetterParkedKeysParams{
			ConsumerID: g.consumer, Topic: o.partition.Topic, RecordPartition: o.partition.Number, TopicID: o.partition.TopicID,
		})
		for _, row := range rows {
			keys[*row.KeyHash] = row.LastOffset
		}

		return err
	})

	return keys, err
}

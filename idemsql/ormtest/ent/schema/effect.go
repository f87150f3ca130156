// Package schema is what ent generates its client from: "make generate".
package schema

import (
	"entgo.io/ent"
	"entgo.io/ent/schema/field"
)

// Effect is a row of the table effects.
type Effect struct{ ent.Schema }

// Fields of the Effect.
func (Effect) Fields() []ent.Field {
	return []ent.Field{
		field.String("id").StorageKey("event_id"),
		field.String("note").Optional(),
	}
}

package console

import (
	"strings"
	"testing"
)

// Indenting takes room that grows with the square of the depth: 16 KiB of brackets took a second and most of a gigabyte.
func TestDeepJSONIsNotIndented(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", maxShown/2) + strings.Repeat("]", maxShown/2)
	if p := newPayload([]byte(deep), true); p.Kind != "text" || p.Text != deep {
		t.Errorf("%s of %d bytes", p.Kind, len(p.Text))
	}
	if p := newPayload([]byte(`{"a":["[[\"{{"]}`), true); p.Kind != "JSON" {
		t.Errorf("flat: %+v", p)
	}
	if d := depth([]byte(`{"a":["[[\"{{",[]],"b":{}}`)); d != 3 {
		t.Errorf("depth %d", d)
	}
}

package kafkafacts

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]struct {
		brokers   []string
		encrypted bool
		mechanism string
		sends     bool // the password as it is
	}{
		"k1:9092":                                {brokers: []string{"k1:9092"}},
		"k1:9092,k2:9093":                        {brokers: []string{"k1:9092", "k2:9093"}},
		"kafka://[::1]:9092/":                    {brokers: []string{"[::1]:9092"}},
		"kafka+tls://k1:9092,k2:9092":            {brokers: []string{"k1:9092", "k2:9092"}, encrypted: true},
		"kafka://u:p@k1:9092":                    {brokers: []string{"k1:9092"}, mechanism: "PLAIN", sends: true},
		"kafka://u:p@localhost:9092":             {brokers: []string{"localhost:9092"}, mechanism: "PLAIN"},
		"kafka+tls://u:p%40%3a%2F@k1:9092":       {brokers: []string{"k1:9092"}, encrypted: true, mechanism: "PLAIN"},
		"kafka://u:p@k1:9092?sasl=scram-sha-256": {brokers: []string{"k1:9092"}, mechanism: "SCRAM-SHA-256"},
		"kafka://u:p@k1:9092?sasl=SCRAM-SHA-512": {brokers: []string{"k1:9092"}, mechanism: "SCRAM-SHA-512"},
	} {
		got, err := Parse(text + "\n") // As in a variable that was read from a file.
		if err != nil {
			t.Errorf("%q: %v", text, err)

			continue
		}
		mechanism := ""
		if got.sasl != nil {
			mechanism = got.sasl.Name()
		}
		if !slices.Equal(got.brokers, want.brokers) || (got.tls != nil) != want.encrypted || mechanism != want.mechanism || got.SendsPassword() != want.sends {
			t.Errorf("%q: %+v, want %+v", text, got, want)
		}
	}
}

func TestParseRefusesWhatItCannotRead(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		"", "k1", ":9092", "k1:", "k1:9092,", "k1 :9092", "k1:9092/topic", "postgres://u:zebra@k1:5432/db", "kafka://u:ze%bra@k1:9092", "kafka://u:zebra@k1",
		"kafka://u:zebra@k1:9092?sasl=GSSAPI", "kafka://k1:9092?ca=/nowhere", "kafka+tls://k1:9092?ca=/nowhere", "kafka+tls://k1:9092?cert=/nowhere",
		"kafka://k1:9092?sasl=%zz", "kafka://u:1?zebra@k1:9092", "kafka://u:1?sasl=zebra@k1:9092",
	} {
		if got, err := Parse(text); err == nil || strings.Contains(err.Error(), "zebra") {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
}

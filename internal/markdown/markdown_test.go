package markdown_test

import (
	"reflect"
	"testing"

	"github.com/nova-events/idempotent-consumer/internal/markdown"
)

const page = "# The `pool`, and more\n" +
	"\n" +
	"Run `make\n" +
	"demo`, see [the rule](other.md#the-rule), or\n" +
	"    not a block.\n" +
	"\n" +
	"    PGHOST=h idemctl show 'a b'  # a note\n" +
	"    idemctl status; idemctl doctor | less\n" +
	"\n" +
	"```console\n" +
	"$ idemctl version\n" +
	"idemctl dev\n" +
	"[no](link.md)\n" +
	"```\n" +
	"```go\n" +
	"idemctl := 1\n" +
	"```\n"

func TestParse(t *testing.T) {
	t.Parallel()
	got := markdown.Parse(page)
	want := &markdown.Page{
		Anchors: map[string]bool{"the-pool-and-more": true},
		Spans:   []markdown.Code{{Text: "pool", Line: 1}, {Text: "make demo", Line: 3}},
		Links:   []markdown.Link{{Target: "other.md#the-rule", Line: 4}},
		Blocks: []markdown.Code{
			{Text: "PGHOST=h idemctl show 'a b'  # a note\nidemctl status; idemctl doctor | less\n", Line: 7},
			{Info: "console", Text: "$ idemctl version\nidemctl dev\n[no](link.md)\n", Line: 11},
			{Info: "go", Text: "idemctl := 1\n", Line: 16},
		},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

func TestCommands(t *testing.T) {
	t.Parallel()
	parsed := markdown.Parse(page)
	if got, want := parsed.Commands("idemctl"), []markdown.Command{
		{Words: []string{"idemctl", "show", "a b"}, Line: 7, Whole: true},
		{Words: []string{"idemctl", "status"}, Line: 8, Whole: true},
		{Words: []string{"idemctl", "doctor"}, Line: 8, Whole: true},
		{Words: []string{"idemctl", "version"}, Line: 11, Whole: true},
	}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if got, want := parsed.Commands("make"), []markdown.Command{{Words: []string{"make", "demo"}, Line: 3}}; !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

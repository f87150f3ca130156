package console

import (
	"embed"
	"fmt"
	"html/template"
	"math"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/nova-events/idempotent-consumer/idem"
	"github.com/nova-events/idempotent-consumer/internal/readable"
	"github.com/nova-events/idempotent-consumer/ops"
)

// view is what the layout of a page is made of.
type view struct {
	Page  string
	User  User
	Login bool // there is a session to end
	Data  any
}

//go:embed templates
var sources embed.FS

// fragments are the parts of pages that are sent on their own, too; templates are the pages by their names.
var (
	fragments = template.Must(template.New("").Funcs(functions).ParseFS(sources, "templates/layout.html", "templates/parts.html"))
	templates = parsePages()
)

func parsePages() map[string]*template.Template {
	files, err := sources.ReadDir("templates")
	if err != nil {
		panic(err) // They are embedded.
	}
	all := map[string]*template.Template{}
	for _, file := range files {
		name := strings.TrimSuffix(file.Name(), ".html")
		if name != "layout" && name != "parts" {
			all[name] = template.Must(template.Must(fragments.Clone()).ParseFS(sources, path.Join("templates", file.Name())))
		}
	}

	return all
}

var functions = template.FuncMap{
	"number":   number,
	"size":     readable.Size,
	"name":     readable.Name,
	"optional": optional,
	"short":    func(text string) string { return readable.Name(readable.Short(strings.ReplaceAll(text, "\n", "; "))) },
	"duration": func(d interface{ Duration() time.Duration }) string { return readable.Duration(d.Duration()) },
	"stamp":    readable.Timestamp,
	"iso":      func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"ago":      func(t time.Time) string { return readable.Ago(t, time.Now()) },
	"rate":     rate,
	"spark":    spark,
	"count":    count,
	"capital":  func(text string) string { return strings.ToUpper(text[:1]) + text[1:] },
	"visible":  visible,
	"waiting":  waiting,
	"explain":  explainState,
	"nav":      func() []tab { return tabs },
	"letters":  func(caption string, list []ops.DeadLetter) lettersData { return lettersData{caption, list} },
	"records":  func(caption string, list []ops.OutboxRecord) recordsData { return recordsData{caption, list} },

	"explainRecord": explainRecord,
	"explainLease":  explainLease,
	"untilMeans":    untilMeans,
}

// tab is an entry of the navigation.
type tab struct {
	Name, Path string
	Pages      []string // that belong to it
}

func (t tab) Has(page string) bool { return slices.Contains(t.Pages, page) }

var tabs = []tab{
	{"Overview", "./", []string{"overview"}},
	{"Consumers", "consumers", []string{"consumers", "consumer", "retention"}},
	{"Partitions", "partitions", []string{"partitions"}},
	{"Dead letters", "deadletters", []string{"deadletters", "deadletter", "plan", "changed"}},
	{"Leases", "leases", []string{"leases", "lease", "leasedecision"}},
	{"Outbox", "outbox", []string{"outbox", "outboxrecord", "outboxplan", "outboxchanged"}},
	{"Event", "event", []string{"event"}},
	{"Doctor", "doctor", []string{"doctor"}},
}

// lettersData is a table of dead letters.
type lettersData struct {
	Caption string
	List    []ops.DeadLetter
}

// recordsData is a table of records of the outbox.
type recordsData struct {
	Caption string
	List    []ops.OutboxRecord
}

func explainState(state idem.DeadLetterState) string {
	switch state {
	case idem.DeadLetterOpen:
		return "waits for somebody to decide."
	case idem.DeadLetterParked:
		return "waits behind an unresolved dead letter of the same record key, and follows by itself."
	case idem.DeadLetterReplay:
		return "will be processed again by the consumer that owns the partition."
	case idem.DeadLetterReplayed:
		return "has been processed since."
	case idem.DeadLetterDiscarded:
		return "was given up by somebody."
	case idem.DeadLetterSuperseded:
		return "was not replayed, because another delivery of its event was processed."
	case idem.DeadLetterExpired:
		return "was asked for, but Kafka no longer had the record, or had another one in its place."
	default:
		return ""
	}
}

func explainRecord(state ops.OutboxState) string {
	switch state {
	case ops.OutboxFailed:
		return "Kafka refuses it: waits for somebody to decide."
	case ops.OutboxParked:
		return "waits behind a failed record of its topic and key, and follows by itself."
	case ops.OutboxRetry:
		return "will be sent again, by the next turn of a relay."
	case ops.OutboxDiscard:
		return "will be deleted, by the next turn of a relay."
	default:
		return ""
	}
}

func explainLease(state ops.LeaseState) string {
	switch state {
	case ops.LeaseRunning:
		return "An attempt is running. Nobody can decide meanwhile."
	case ops.LeaseReleased:
		return "No attempt is running. The next delivery runs it again."
	case ops.LeaseUnknown:
		return "Nobody knows whether the last attempt took effect. The service finds out, or runs it again, with the next delivery."
	case ops.LeaseUndecided:
		return "Nobody knows whether the last attempt took effect: waits for somebody to decide."
	default:
		return ""
	}
}

// untilMeans says what Lease.Until is.
func untilMeans(state ops.LeaseState) string {
	switch state {
	case ops.LeaseRunning:
		return "Ends, unless it is extended"
	case ops.LeaseReleased:
		return "Next attempt from"
	default:
		return "Unknown since"
	}
}

// waiting writes how many records of the outbox wait.
func waiting(n int64) string {
	if n == ops.OutboxCountLimit {
		return number(n) + " or more"
	}

	return number(n)
}

func number(n any) string {
	switch n := n.(type) {
	case int:
		return readable.Number(n)
	case int32:
		return readable.Number(int64(n))
	case int64:
		return readable.Number(n)
	case *int64:
		if n != nil {
			return readable.Number(*n)
		}
	}

	return "–"
}

func optional(text *string) string {
	if text == nil {
		return "–"
	}

	return readable.Name(*text)
}

// count writes a number of things: 1 event, 2 events.
func count(n any, noun string) string {
	text := number(n)
	if text == "1" {
		return "1 " + noun
	}

	return text + " " + noun + "s"
}

func rate(r *float64) string {
	switch {
	case r == nil:
		return "–"
	case *r == 0 || *r >= 10:
		return readable.Number(int64(math.Round(*r))) + "/s"
	default:
		return fmt.Sprintf("%.1f/s", *r)
	}
}

// The size of what spark draws.
const (
	sparkWidth  = 120
	sparkHeight = 22
)

// spark is a polyline of the rates, the latest to the right.
func spark(rates []float64) string {
	top := 1.0
	for _, r := range rates {
		top = max(top, r)
	}
	points := make([]string, len(rates))
	for i, r := range rates {
		x := sparkWidth - float64(len(rates)-1-i)*sparkWidth/(history-1)
		points[i] = fmt.Sprintf("%.1f,%.1f", x, sparkHeight-1-r/top*(sparkHeight-2))
	}

	return strings.Join(points, " ")
}

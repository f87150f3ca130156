// Command dashboard prints the Grafana dashboard of idemotel's metrics. "make generate" writes it into
// idemotel/dashboard.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/grafana/grafana-foundation-sdk/go/common"
	"github.com/grafana/grafana-foundation-sdk/go/dashboard"
	"github.com/grafana/grafana-foundation-sdk/go/prometheus"
	"github.com/grafana/grafana-foundation-sdk/go/stat"
	"github.com/grafana/grafana-foundation-sdk/go/timeseries"
)

func main() {
	text, err := generate()
	if err == nil {
		_, err = os.Stdout.Write(text)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "dashboard:", err)
		os.Exit(1)
	}
}

const perSecond = "cps" // Grafana's name of the unit.

// The metrics are filtered by what is chosen at the top of the dashboard.
const (
	group = `messaging_consumer_group_name=~"$group"`
	topic = group + `,messaging_destination_name=~"$topic"`
)

// panel is a diagram, or a number if it has no legend.
type panel struct {
	title, unit, description string
	query, legend            string
}

// rows are the dashboard, from top to bottom.
var rows = []struct {
	title  string
	panels []panel
}{
	{"Now", []panel{
		{title: "Consumers in their group", query: `sum(idem_member_state{idem_state="joined",` + group + `})`},
		{title: "Partitions owned", query: `count(idem_checkpoint_age_seconds{` + topic + `})`},
		{title: "Records to come", query: `sum(idem_lag{` + topic + `})`},
		{title: "Oldest COMMIT of a busy partition", unit: "s", query: `max(idem_checkpoint_age_seconds{` + topic + `})`},
		{title: "Partitions that stand still", query: `sum(idem_partitions_paused{` + topic + `})`},
		{title: "Dead letters that wait for somebody", query: `sum(max by (idem_consumer) (idem_dead_letters_open{` + group + `}))`},
	}},
	{"Records", []panel{
		{
			title: "Events by what became of them", unit: perSecond, legend: "{{idem_outcome}}",
			description: "processed: took effect; duplicate: had done so before; dead_letter: stored, because the record cannot be processed; replayed: took effect later.",
			query:       `sum by (idem_outcome) (rate(idem_events_total{` + topic + `}[$__rate_interval]))`,
		},
		{
			title: "Records from Kafka", unit: perSecond, legend: "{{messaging_destination_name}}",
			query: `sum by (messaging_destination_name) (rate(messaging_client_consumed_messages_total{` + topic + `}[$__rate_interval]))`,
		},
		{
			title: "Records to come", legend: "{{messaging_destination_name}}",
			query: `sum by (messaging_destination_name) (idem_lag{` + topic + `})`,
		},
		{
			title: "Partitions that are most behind", legend: "{{messaging_destination_name}} {{messaging_destination_partition_id}}",
			query: `topk(10, max by (messaging_destination_name, messaging_destination_partition_id) (idem_lag{` + topic + `}))`,
		},
	}},
	{"Time", []panel{
		{
			title: "A try to process records (half, 99 %)", unit: "s", legend: "{{quantile}}",
			description: "From BEGIN to COMMIT, for all records that share the transaction.",
			query:       quantiles("messaging_process_duration_seconds", topic),
		},
		{
			title: "Claim, handler and COMMIT (99 %)", unit: "s", legend: "{{idem_operation}}",
			description: "A claim waits for other transactions that claim the same events.",
			query:       `histogram_quantile(0.99, sum by (le, idem_operation) (rate(idem_operation_duration_seconds_bucket{idem_operation!~"effect|step",` + group + `}[$__rate_interval])))`,
		},
		{
			title: "Requests to Kafka (99 %)", unit: "s", legend: "{{messaging_operation_name}}",
			description: "poll: those that brought records or failed; send: those of an outbox's relay.",
			query:       `histogram_quantile(0.99, sum by (le, messaging_operation_name) (rate(messaging_client_operation_duration_seconds_bucket{` + group + `}[$__rate_interval])))`,
		},
		{
			title: "Longest time since a busy partition's COMMIT", unit: "s", legend: "{{messaging_destination_name}}",
			query: `max by (messaging_destination_name) (idem_checkpoint_age_seconds{` + topic + `})`,
		},
	}},
	{"Trouble", []panel{
		{
			title: "Tries that failed, by why", unit: perSecond, legend: "{{error_type}}",
			query: `sum by (error_type) (rate(messaging_process_duration_seconds_count{error_type!="",` + topic + `}[$__rate_interval]))`,
		},
		{
			title: "Dead letters stored", legend: "{{messaging_destination_name}}",
			query: `sum by (messaging_destination_name) (increase(idem_dead_letters_stored_total{` + topic + `}[$__rate_interval]))`,
		},
		{
			title: "Partitions that stand still, by why", legend: "{{idem_pause_kind}}",
			query: `sum by (idem_pause_kind) (idem_partitions_paused{` + topic + `})`,
		},
		{
			title: "Retries, by why", unit: perSecond, legend: "{{error_type}}",
			query: `sum by (error_type) (rate(idem_retries_total{` + topic + `}[$__rate_interval]))`,
		},
		{
			title: "What should not happen", legend: "{{what}}",
			description: "Commits that the database lost, partitions taken over from a member that was frozen, records skipped, event ids that are not unique, waits for the pool, handlers that do not return.",
			query:       increases("rewinds", "assignments_fenced", "skips", "collisions", "pool_waits", "handlers_slow"),
		},
		{
			title: "Events forgotten by cleanup", unit: perSecond, legend: "forgotten",
			query: `sum(rate(idem_cleanup_deleted_total{` + group + `}[$__rate_interval]))`,
		},
	}},
	{"Effects outside the transaction", []panel{
		{
			title: "Attempts by how they ended", unit: perSecond, legend: "{{idem_outcome}}",
			description: "returned: took effect; failed: did not; unknown: nobody knows; lost: the lease ended while it ran.",
			query:       `sum by (idem_outcome) (rate(idem_lease_attempts_total{` + group + `}[$__rate_interval]))`,
		},
		{
			title: "Calls by what was known of their event", unit: perSecond, legend: "{{idem_outcome}}",
			query: `sum by (idem_outcome) (rate(idem_lease_lookups_total{` + group + `}[$__rate_interval]))`,
		},
		{
			title: "An effect (half, 99 %)", unit: "s", legend: "{{quantile}}",
			query: quantiles("idem_operation_duration_seconds", `idem_operation="effect",`+group),
		},
		{
			title: "Events that wait for a decision", legend: "{{idem_consumer}}",
			query: `max by (idem_consumer) (idem_leases_undecided{` + group + `})`,
		},
	}},
	{"Outbox", []panel{
		{
			title: "Records by what became of them", unit: perSecond, legend: "{{idem_outcome}}",
			description: "delivered: Kafka has them; failed: Kafka refuses them; parked: behind a failed one of their key; waiting: not taken now, and sent again.",
			query:       `sum by (idem_outcome) (rate(idem_outbox_records_total{` + group + `}[$__rate_interval]))`,
		},
		{
			title: "Records in the outbox", legend: "{{idem_state}}",
			query: `max by (idem_state) (idem_outbox_backlog{` + group + `})`,
		},
		{
			title: "Lag: how long the first record has waited", unit: "s", legend: "lag",
			query: `max(idem_outbox_lag_seconds{` + group + `})`,
		},
		{
			title: "Wait of the first record of a turn (half, 99 %)", unit: "s", legend: "{{quantile}}",
			query: quantiles("idem_outbox_wait_seconds", group),
		},
		{
			title: "Turns of relays", unit: perSecond, legend: "{{error_type}}",
			description: "Those with a name failed, with that error.",
			query:       `sum by (error_type) (rate(idem_outbox_turns_total{` + group + `}[$__rate_interval]))`,
		},
		{
			title: "Records given to Kafka's producer", unit: perSecond, legend: "{{messaging_destination_name}} {{error_type}}",
			query: `sum by (messaging_destination_name, error_type) (rate(messaging_client_sent_messages_total{` + group + `}[$__rate_interval]))`,
		},
	}},
}

// quantiles is half and 99 % of a histogram.
func quantiles(histogram, filter string) string {
	of := func(quantile, name string) string {
		return labelled(`histogram_quantile(`+quantile+`, sum by (le) (rate(`+histogram+`_bucket{`+filter+`}[$__rate_interval])))`, "quantile", name)
	}

	return of("0.5", "half") + " or " + of("0.99", "99 %")
}

// increases is how much each of some counters grew.
func increases(counters ...string) string {
	all := make([]string, len(counters))
	for i, name := range counters {
		all[i] = labelled(`sum(increase(idem_`+name+`_total{`+topic+`}[$__rate_interval]))`, "what", name)
	}

	return strings.Join(all, " or ")
}

func labelled(query, label, value string) string {
	return `label_replace(` + query + `, "` + label + `", "` + value + `", "", "")`
}

func generate() ([]byte, error) {
	prometheusType, variable := "prometheus", "${datasource}"
	source := common.DataSourceRef{Type: &prometheusType, Uid: &variable}
	d := dashboard.NewDashboardBuilder("Idempotent consumer"). //nolint:staticcheck // Every Grafana reads this kind.
									Uid("idempotent-consumer").Tags([]string{"kafka", "postgresql"}).
									Description("What consumers and their partitions do. Metrics: docs/telemetry.md.").
									Refresh("30s").Time("now-3h", "now").Tooltip(dashboard.DashboardCursorSyncCrosshair).
									WithVariable(dashboard.NewDatasourceVariableBuilder("datasource").Label("Source").Type("prometheus")).
									WithVariable(choice("group", "Group", "label_values(idem_member_state, messaging_consumer_group_name)", source)).
									WithVariable(choice("topic", "Topic", `label_values(idem_events_total{`+group+`}, messaging_destination_name)`, source))
	for _, row := range rows {
		d.WithRow(dashboard.NewRowBuilder(row.title))
		for _, p := range row.panels {
			query := prometheus.NewDataqueryBuilder().RefId("A").Expr(p.query).LegendFormat(p.legend)
			if p.legend == "" {
				d.WithPanel(stat.NewPanelBuilder().Title(p.title).Unit(p.unit).Datasource(source).Height(4).Span(4).WithTarget(query.Instant()))
			} else {
				d.WithPanel(timeseries.NewPanelBuilder().Title(p.title).Description(p.description).Unit(p.unit).Min(0).Datasource(source).
					Height(8).Span(12).FillOpacity(10).WithTarget(query))
			}
		}
	}
	built, err := d.Build()
	if err != nil {
		return nil, err
	}
	text, err := json.MarshalIndent(built, "", "  ")

	return append(text, '\n'), err
}

// choice is a variable of the dashboard: all values, or some.
func choice(name, label, query string, source common.DataSourceRef) *dashboard.QueryVariableBuilder {
	return dashboard.NewQueryVariableBuilder(name).Label(label).Datasource(source).Query(dashboard.StringOrMap{String: &query}).
		Refresh(dashboard.VariableRefreshOnTimeRangeChanged).Multi(true).IncludeAll(true).AllValue(".*")
}

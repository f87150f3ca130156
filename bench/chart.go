package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// The measures of the chart, in pixels.
const (
	chartWidth = 860
	labelWidth = 330
	rowHeight  = 22
	barHeight  = 14
	headHeight = 64
	footHeight = 48
	rightSpace = 150

	// The classes of bars.
	ours   = "ours"
	theirs = "theirs"
	limit  = "limit"
)

// bar is one bar of the chart.
type bar struct {
	label string
	value series
	class string
}

// chart draws the events a second of the base load and of the end-to-end part as an SVG: bars on
// a logarithmic scale, with lines from the slowest to the fastest round.
func (r *report) chart() string {
	direct, ends := r.bars()
	least, most := math.Inf(1), 0.0
	for _, b := range append(append([]bar{}, direct...), ends...) {
		least, most = min(least, b.value.Min), max(most, b.value.Max)
	}
	from := math.Floor(math.Log10(max(least, 1)))
	to := math.Ceil(math.Log10(max(most, 10)))
	scale := func(v float64) float64 {
		return labelWidth + (math.Log10(max(v, 1))-from)/max(to-from, 1)*(chartWidth-labelWidth-rightSpace)
	}
	height := headHeight + footHeight + (len(direct)+len(ends)+1)*rowHeight
	if len(ends) == 0 {
		height -= rowHeight
	}
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t">
<title id="t">Events a second, each with a business write in PostgreSQL</title>
<style>
  svg { background: #fff; font: 13px system-ui, sans-serif; }
  text { fill: #1f2328; } .small { fill: #59636e; font-size: 11px; } .head { font-weight: 600; font-size: 15px; }
  .grid { stroke: #d1d9e0; } .spread { stroke: #1f2328; stroke-width: 1.5; }
  .ours { fill: #1a7f37; } .theirs { fill: #bc4c00; } .limit { fill: #818b98; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; }
    text { fill: #f0f6fc; } .small { fill: #9198a1; } .grid { stroke: #3d444d; } .spread { stroke: #f0f6fc; }
    .ours { fill: #3fb950; } .theirs { fill: #db6d28; } .limit { fill: #656c76; }
  }
</style>
<rect width="100%%" height="100%%" fill="none"/>
<text class="head" x="12" y="24">Events a second, each with a business write in PostgreSQL</text>
`, chartWidth, height, chartWidth, height)
	key := 12
	for _, k := range []struct{ class, text string }{{ours, "this library"}, {theirs, "without it"}, {limit, "limits: the same by hand, or less"}} {
		fmt.Fprintf(&svg, `<rect class="%s" x="%d" y="36" width="12" height="12"/><text x="%d" y="46">%s</text>`+"\n", k.class, key, key+18, k.text)
		key += 40 + 7*len(k.text)
	}
	for power := from; power <= to; power++ {
		x := scale(math.Pow(10, power))
		fmt.Fprintf(&svg, `<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/><text class="small" x="%.1f" y="%d" text-anchor="middle">%s</text>`+"\n",
			x, headHeight-6, x, height-footHeight+4, x, height-footHeight+18, number(math.Pow(10, power)))
	}
	y := headHeight
	for _, b := range direct {
		b.draw(&svg, scale, y)
		y += rowHeight
	}
	if len(ends) > 0 {
		fmt.Fprintf(&svg, `<text class="small" x="12" y="%d">end to end, from %s</text>`+"\n", y+16, html.EscapeString(strings.Replace(r.Versions["broker"], apacheKafka, "Apache Kafka", 1)))
		y += rowHeight
	}
	for _, b := range ends {
		b.draw(&svg, scale, y)
		y += rowHeight
	}
	fmt.Fprintf(&svg, `<text class="small" x="12" y="%d">%s</text>`+"\n</svg>\n", height-8, html.EscapeString(fmt.Sprintf(
		"Medians of %d rounds, logarithmic scale; lines: slowest to fastest round. %d cores, PostgreSQL %s, fsync on.",
		r.Settings.Rounds, r.Machine.Cores, r.Versions["postgresql"])))

	return svg.String()
}

func (b bar) draw(svg *strings.Builder, scale func(float64) float64, y int) {
	end, low, high := scale(b.value.Median), scale(b.value.Min), scale(b.value.Max)
	middle := float64(y) + rowHeight/2.0
	fmt.Fprintf(svg, `<text x="%d" y="%.1f" text-anchor="end">%s</text><rect class="%s" x="%d" y="%.1f" width="%.1f" height="%d" rx="2"/>`+
		`<line class="spread" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/><text x="%.1f" y="%.1f">%s</text>`+"\n",
		labelWidth-8, middle+4.5, html.EscapeString(b.label), b.class, labelWidth, middle-barHeight/2.0, max(1, end-labelWidth), barHeight,
		low, middle, high, middle, max(end, high)+6, middle+4.5, number(b.value.Median))
}

// bars are those of the base load and end to end, the slowest at the top.
func (r *report) bars() (direct, ends []bar) {
	for _, b := range []struct {
		m            *measurement
		label, class string
	}{
		{r.best(seedName), "check, work, insert last", theirs},
		{r.best(markFirstName), "mark first, then work", theirs},
		{r.best(pgxName), "one by one: the same by pgx", limit},
		{r.best(pgbenchName), "one by one: the same by pgbench", limit},
		{r.find(singleSubject(r.Settings.Workers).id(baseLoad)), "ProcessIfNew", ours},
		{r.find(execSubject(r.Settings.Workers).id(baseLoad)), "ExecIfNew, one round trip", ours},
		{r.best(rawName), "batches: the same by hand", limit},
		{r.best(batchName), "ProcessBatch, event ids", ours},
		{r.best(bothName), "Owner.ProcessBatch, event ids and offsets", ours},
		{r.best(rawCheckpointName), "offsets: the same by hand", limit},
		{r.best(checkpointName), "Owner.ProcessBatch, offsets", ours},
	} {
		if b.m != nil {
			direct = append(direct, bar{fmt.Sprintf("%s (%d)", b.label, b.m.Workers), b.m.Value, b.class})
		}
	}
	for _, b := range []struct{ name, label, class string }{
		{handwrittenName, "hand-written reader", theirs},
		{readersName, "hand-written reader for each partition", theirs},
		{watermillName, "Watermill, hand-written transaction", theirs},
		{handleName, "Handle", ours},
		{queueName, "HandleQueue", ours},
		{handBatchName, "hand-written readers of batches", theirs},
		{batchName, "HandleBatch, event ids and offsets", ours},
		{checkpointName, "HandleBatch, offsets", ours},
		{atLeastOnceName, "batches, at least once", limit},
	} {
		if m := r.e2e(b.name); m != nil {
			ends = append(ends, bar{fmt.Sprintf("%s (%d)", b.label, m.Workers), m.Value, b.class})
		}
	}

	return direct, ends
}

package main

import (
	"fmt"
	"html"
	"strings"
)

// The measures of the chart, in pixels: small charts in two columns.
const (
	chartWidth  = 420
	chartHeight = 96
	gap         = 20
	head        = 56
)

// chart draws the quantities as an SVG, each from zero, so that what grows can be seen to.
func (r record) chart() string {
	list := all()
	const width = 2*chartWidth + 3*gap
	rows := (len(list) + 1) / 2
	height := head + rows*(chartHeight+2*gap)
	var svg strings.Builder
	fmt.Fprintf(&svg, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="t">
<title id="t">What two consumers use under a steady load</title>
<style>
  svg { background: #fff; font: 12px system-ui, sans-serif; }
  text { fill: #1f2328; } .small { fill: #59636e; font-size: 11px; } .head { font-weight: 600; font-size: 15px; }
  .axis { stroke: #d1d9e0; } .line { stroke: #1a7f37; stroke-width: 1.5; fill: none; }
  @media (prefers-color-scheme: dark) {
    svg { background: #0d1117; } text { fill: #f0f6fc; } .small { fill: #9198a1; } .axis { stroke: #3d444d; } .line { stroke: #3fb950; }
  }
</style>
<text class="head" x="%d" y="24">What two consumers use under a steady load</text>
<text class="small" x="%d" y="42">%s</text>
`, width, height, width, height, gap, gap, html.EscapeString(r.Settings))
	for i, s := range list {
		// The first adapter is on the left, the second on the right, and what belongs to both below.
		column, row := i/6, i%6
		if i >= 12 {
			column, row = (i-12)%2, 6+(i-12)/2
		}
		r.draw(&svg, s, gap+column*(chartWidth+gap), head+row*(chartHeight+2*gap))
	}
	svg.WriteString("</svg>\n")

	return svg.String()
}

func (r record) draw(svg *strings.Builder, s series, x, y int) {
	seconds, values := r.points(s)
	highest, last := 0.0, 1.0
	for i, v := range values {
		highest, last = max(highest, v), seconds[i]
	}
	fmt.Fprintf(svg, `<text x="%d" y="%d">%s</text><text class="small" x="%d" y="%d" text-anchor="end">up to %s</text>`+"\n",
		x, y+12, html.EscapeString(s.name), x+chartWidth, y+12, html.EscapeString(number(highest, s.unit)))
	bottom := y + gap + chartHeight
	fmt.Fprintf(svg, `<line class="axis" x1="%d" y1="%d" x2="%d" y2="%d"/><text class="small" x="%d" y="%d" text-anchor="end">%.0f min</text>`+"\n",
		x, bottom, x+chartWidth, bottom, x+chartWidth, bottom+12, last/60)
	points := make([]string, len(values))
	for i, v := range values {
		points[i] = fmt.Sprintf("%.1f,%.1f", float64(x)+seconds[i]/last*chartWidth, float64(bottom)-v/max(highest, 1e-9)*chartHeight)
	}
	fmt.Fprintf(svg, `<polyline class="line" points="%s"/>`+"\n", strings.Join(points, " "))
}

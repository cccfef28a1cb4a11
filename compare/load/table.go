package load

import (
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// maxWidth bounds the lines of the overview; further scenarios go below.
const maxWidth = 98

// WriteTable writes a table for each scenario, then the overview.
func (r *Report) WriteTable(w io.Writer) error {
	var text strings.Builder
	all := r.Summaries()
	for len(all) > 0 {
		n := slices.IndexFunc(all, func(s Summary) bool { return s.title() != all[0].title() })
		if n < 0 {
			n = len(all)
		}
		r.writeScenario(&text, all[:n])
		all = all[n:]
	}
	r.writeOverview(&text)
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// column is one of a table: its heading, and what it says of a target.
type column struct {
	head string
	cell func(Summary) string
}

// writeScenario writes the table of one scenario, a row for each target.
func (r *Report) writeScenario(text *strings.Builder, rows []Summary) {
	fmt.Fprintf(text, "\n%s%s\n", rows[0].title(), r.conditions(rows[0].Kind, rows[0].Scenario))
	columns := r.columns(rows[0])
	table := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, c := range columns {
		fmt.Fprint(table, c.head, "\t")
	}
	fmt.Fprintln(table)
	for _, s := range rows {
		for _, c := range columns {
			fmt.Fprint(table, c.cell(s), "\t")
		}
		fmt.Fprintln(table)
	}
	table.Flush() // a strings.Builder takes everything
}

// conditions are what a table's title says of how its runs were made.
func (r *Report) conditions(kind Kind, scenario string) string {
	switch kind {
	case Idle:
		return ""
	case Connects:
		return fmt.Sprintf(", %g s a run", r.Duration)
	case Offline:
		return fmt.Sprintf(", %d B", r.Payload)
	}
	return fmt.Sprintf(", %d B, %s, %g s a run", r.Payload, r.load(scenario), r.Duration)
}

// load says what drives the messages of a scenario.
func (r *Report) load(name string) string {
	s, _ := ParseScenario(name) // a report may be of scenarios that are no more: saturated
	switch rate := (Options{Rate: r.Rate}).under(s).Rate; {
	case s.Window > 0:
		return fmt.Sprintf("window %d", s.Window)
	case rate > 0:
		return fmt.Sprintf("%g msg/s", rate)
	}
	return "saturated"
}

// paced tells that latency is what the scenario is about: under saturation it
// says how long the queues are, no more.
func (r *Report) paced(scenario string) bool { return r.load(scenario) != "saturated" }

// columns are those of a scenario's table.
func (r *Report) columns(s Summary) []column {
	first := []column{
		{"target", func(s Summary) string { return s.Target }},
		{"runs", func(s Summary) string {
			if s.Failed > 0 {
				return fmt.Sprintf("%d, %d failed", s.Runs, s.Failed)
			}
			return strconv.Itoa(s.Runs)
		}},
	}
	bench := column{"bench us", func(s Summary) string { return fmt.Sprintf("%.2f", s.Generator) }}
	switch {
	case s.Kind == Idle:
		return append(first, memoryColumns...)
	case s.Kind == Connects:
		return slices.Concat(first, r.speedColumns("conn"), latencyColumns, []column{bench})
	case s.Kind == Messages && r.paced(s.Scenario):
		return slices.Concat(first, r.speedColumns("msg")[1:3], latencyColumns, lossColumns, []column{
			{"unsent", func(s Summary) string { return strconv.FormatUint(s.Unsent, 10) }},
		})
	}
	return slices.Concat(first, r.speedColumns("msg"), lossColumns, []column{bench})
}

// speedColumns are of throughput, in thousands of the unit.
func (r *Report) speedColumns(unit string) []column {
	known := func(s Summary, text string) string {
		if s.PerCPU.Median > 0 {
			return text
		}
		return "-"
	}
	return []column{
		{"k " + unit + "/s", func(s Summary) string { return thousands(s.PerSecond.Median) }},
		{"k/CPU-s", func(s Summary) string { return known(s, thousands(s.PerCPU.Median)) }},
		{"min..max", func(s Summary) string {
			return known(s, thousands(s.PerCPU.Min)+".."+thousands(s.PerCPU.Max))
		}},
		{"to " + r.Base, func(s Summary) string {
			if s.Ratio > 0 {
				return fmt.Sprintf("%.2f", s.Ratio)
			}
			return "-"
		}},
	}
}

var latencyColumns = []column{
	{"p50 us", func(s Summary) string { return fmt.Sprintf("%.0f", s.P50) }},
	{"p99 us", func(s Summary) string { return fmt.Sprintf("%.0f", s.P99) }},
	{"p99.9 us", func(s Summary) string { return fmt.Sprintf("%.0f", s.P999) }},
}

var lossColumns = []column{
	{"lost", func(s Summary) string { return strconv.FormatUint(s.Lost, 10) }},
	{"dup", func(s Summary) string { return strconv.FormatUint(s.Duplicates, 10) }},
	{"late", func(s Summary) string { return strconv.FormatUint(s.Reordered, 10) }},
}

var memoryColumns = []column{
	{"KiB/conn", func(s Summary) string { return kibi(s.PerConn.Median) }},
	{"min..max", func(s Summary) string { return kibi(s.PerConn.Min) + ".." + kibi(s.PerConn.Max) }},
	{"RSS before MiB", func(s Summary) string { return kibi(s.RSSBefore / 1024) }},
	{"after MiB", func(s Summary) string { return kibi(s.RSSAfter / 1024) }},
}

// thousands has one digit behind the point until that says nothing any more.
func thousands(n float64) string {
	if n < 1_000_000 {
		return fmt.Sprintf("%.1f", n/1000)
	}
	return fmt.Sprintf("%.0f", n/1000)
}

func kibi(bytes float64) string { return fmt.Sprintf("%.1f", bytes/1024) }

// writeOverview sets the scenarios side by side: the median of each target, in
// thousands for each second of server CPU, or in KiB a connection.
func (r *Report) writeOverview(text *strings.Builder) {
	var titles, targets []string
	cells := map[[2]string]string{}
	for _, s := range r.Summaries() {
		if !slices.Contains(titles, s.title()) {
			titles = append(titles, s.title())
		}
		if !slices.Contains(targets, s.Target) {
			targets = append(targets, s.Target)
		}
		cells[[2]string{s.title(), s.Target}] = s.figure()
	}
	if len(titles) < 2 {
		return
	}
	fmt.Fprint(text, "\nMedians, thousands for each second of server CPU; idle: KiB a connection\n")
	width := 0
	for _, t := range targets {
		width = max(width, len(t)+2)
	}
	for len(titles) > 0 {
		var group []string
		group, titles = abreast(titles, maxWidth-width)
		table := tabwriter.NewWriter(text, 0, 0, 2, ' ', tabwriter.AlignRight)
		fmt.Fprintln(table, "target\t"+strings.Join(group, "\t")+"\t")
		for _, target := range targets {
			fmt.Fprint(table, target, "\t")
			for _, title := range group {
				fmt.Fprint(table, cells[[2]string{title, target}], "\t")
			}
			fmt.Fprintln(table)
		}
		table.Flush() // a strings.Builder takes everything
		fmt.Fprintln(text)
	}
}

// abreast cuts off the titles that fit side by side into width, at least one.
func abreast(titles []string, width int) (group, rest []string) {
	const leastColumn = 8
	n := 0
	for n < len(titles) {
		width -= max(leastColumn, len(titles[n])) + 2
		if n > 0 && width < 0 {
			break
		}
		n++
	}
	return titles[:n], titles[n:]
}

// figure is the one of a summary that the overview shows. A mark says that
// messages were lost, repeated or late, or that runs failed: look before you compare.
func (s *Summary) figure() string {
	text, mark := "-", ""
	switch {
	case s.Kind == Idle && s.Failed < s.Runs:
		text = kibi(s.PerConn.Median)
	case s.PerCPU.Median > 0:
		text = thousands(s.PerCPU.Median)
	}
	if s.Lost+s.Duplicates+s.Reordered > 0 || s.Failed > 0 {
		mark = "!"
	}
	return text + mark
}

package load

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Run is one measured window. Delivered, the CPU times and the latencies are
// of the window; Sent, Lost, Duplicates and Unsent of the run from warm-up to
// drain, so that no loss hides outside the window.
type Run struct {
	Scenario     string  `json:"scenario"`
	Target       string  `json:"target"`
	Number       int     `json:"run"`
	Seconds      float64 `json:"seconds"`
	Delivered    uint64  `json:"delivered"`
	ServerCPU    float64 `json:"server_cpu_s"`    // 0 when the pid is unknown
	GeneratorCPU float64 `json:"generator_cpu_s"` // of bench itself
	P50          int64   `json:"p50_us"`          // from the due time in an open loop, else from the write
	P99          int64   `json:"p99_us"`
	Max          int64   `json:"max_us"`
	Sent         uint64  `json:"sent"`
	Lost         uint64  `json:"lost"`
	Duplicates   uint64  `json:"duplicates"`
	Unsent       uint64  `json:"unsent"` // open loop: due, but the broker took no more
	Error        string  `json:"error,omitempty"`
}

// Spread is the median of the runs with their extremes.
type Spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// Summary is what the good runs of a target in a scenario come to. Spreads and
// latencies are medians over runs; the counts are sums.
type Summary struct {
	Scenario   string  `json:"scenario"`
	Target     string  `json:"target"`
	Runs       int     `json:"runs"`
	Failed     int     `json:"failed"`
	PerSecond  Spread  `json:"delivered_per_s"`
	ServerCPU  Spread  `json:"server_cpu_s"`
	PerCPU     Spread  `json:"delivered_per_server_cpu_s"` // zero when unknown
	Ratio      float64 `json:"ratio_to_base"`              // of PerCPU; zero when unknown
	Generator  float64 `json:"generator_us_per_delivery"`
	P50        float64 `json:"p50_us"`
	P99        float64 `json:"p99_us"`
	Lost       uint64  `json:"lost"`
	Duplicates uint64  `json:"duplicates"`
	Unsent     uint64  `json:"unsent"`
}

// Report is the outcome of Bench: every run, in the order in which they ran.
type Report struct {
	Base     string  `json:"base"`
	Payload  int     `json:"payload_bytes"`
	Rate     float64 `json:"rate_per_s"` // 0: saturation
	Duration float64 `json:"duration_s"`
	Runs     []Run   `json:"runs"`
}

func newReport(o Options) Report {
	base := o.Base
	if base == "" {
		base = o.Targets[0].Name
	}
	return Report{Base: base, Payload: o.Payload, Rate: o.Rate, Duration: o.Duration.Seconds(), Runs: []Run{}}
}

// Summaries returns one summary for each scenario and target, in run order.
func (r *Report) Summaries() []Summary {
	type key struct{ scenario, target string }
	var order []key
	runs := map[key][]Run{}
	for _, run := range r.Runs {
		k := key{run.Scenario, run.Target}
		if runs[k] == nil {
			order = append(order, k)
		}
		runs[k] = append(runs[k], run)
	}
	out := make([]Summary, 0, len(order))
	for _, k := range order {
		out = append(out, summarise(runs[k]))
	}
	r.addRatios(out)
	return out
}

func (r *Report) addRatios(all []Summary) {
	base := map[string]float64{}
	for _, s := range all {
		if s.Target == r.Base {
			base[s.Scenario] = s.PerCPU.Median
		}
	}
	for i := range all {
		if b := base[all[i].Scenario]; b > 0 {
			all[i].Ratio = all[i].PerCPU.Median / b
		}
	}
}

func summarise(runs []Run) Summary {
	s := Summary{Scenario: runs[0].Scenario, Target: runs[0].Target, Runs: len(runs)}
	good := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Error != "" })
	s.Failed = len(runs) - len(good)
	s.PerSecond = spread(good, func(r Run) float64 { return ratio(float64(r.Delivered), r.Seconds) })
	s.ServerCPU = spread(good, func(r Run) float64 { return r.ServerCPU })
	s.PerCPU = spread(good, func(r Run) float64 { return ratio(float64(r.Delivered), r.ServerCPU) })
	s.Generator = spread(good, func(r Run) float64 { return ratio(r.GeneratorCPU*1e6, float64(r.Delivered)) }).Median
	s.P50 = spread(good, func(r Run) float64 { return float64(r.P50) }).Median
	s.P99 = spread(good, func(r Run) float64 { return float64(r.P99) }).Median
	for _, r := range good {
		s.Lost += r.Lost
		s.Duplicates += r.Duplicates
		s.Unsent += r.Unsent
	}
	return s
}

func ratio(a, b float64) float64 {
	if b <= 0 {
		return 0
	}
	return a / b
}

// spread of no runs is zero; the median of an even number is the mean of the middle two.
func spread(runs []Run, of func(Run) float64) Spread {
	if len(runs) == 0 {
		return Spread{}
	}
	values := make([]float64, len(runs))
	for i, r := range runs {
		values[i] = of(r)
	}
	slices.Sort(values)
	n := len(values)
	return Spread{Median: (values[(n-1)/2] + values[n/2]) / 2, Min: values[0], Max: values[n-1]}
}

// WriteJSON writes the report with every run and the summaries.
func (r *Report) WriteJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	err := enc.Encode(struct {
		*Report
		Summaries []Summary `json:"summaries"`
	}{r, r.Summaries()})
	if err != nil {
		return fmt.Errorf("writing the report: %w", err)
	}
	return nil
}

// WriteTable writes a table for each scenario.
func (r *Report) WriteTable(w io.Writer) error {
	var text strings.Builder
	scenario := ""
	var table *tabwriter.Writer
	for _, s := range r.Summaries() {
		if s.Scenario != scenario {
			if table != nil {
				table.Flush() // a strings.Builder takes everything
			}
			scenario = s.Scenario
			fmt.Fprintf(&text, "\n%s, %d B, %s, %g s a run\n", scenario, r.Payload, r.load(), r.Duration)
			table = tabwriter.NewWriter(&text, 0, 0, 2, ' ', tabwriter.AlignRight)
			fmt.Fprint(table, "target\truns\tmsg/s\tserver CPU s\tk msg/CPU-s\tmin..max\tto "+r.Base+
				"\tp50 us\tp99 us\tlost\tdup\tunsent\tbench us/msg\t\n")
		}
		s.writeRow(table)
	}
	if table != nil {
		table.Flush()
	}
	if _, err := io.WriteString(w, text.String()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

func (r *Report) load() string {
	if r.Rate == 0 {
		return "saturated"
	}
	return fmt.Sprintf("%g msg/s", r.Rate)
}

func (s *Summary) writeRow(w io.Writer) {
	runs := strconv.Itoa(s.Runs)
	if s.Failed > 0 {
		runs = fmt.Sprintf("%d, %d failed", s.Runs, s.Failed)
	}
	perCPU, extremes, times := "-", "-", "-"
	if s.PerCPU.Median > 0 {
		perCPU = fmt.Sprintf("%.1f", s.PerCPU.Median/1000)
		extremes = fmt.Sprintf("%.1f..%.1f", s.PerCPU.Min/1000, s.PerCPU.Max/1000)
	}
	if s.Ratio > 0 {
		times = fmt.Sprintf("%.2f", s.Ratio)
	}
	fmt.Fprintf(w, "%s\t%s\t%.0f\t%.2f\t%s\t%s\t%s\t%.0f\t%.0f\t%d\t%d\t%d\t%.3f\t\n",
		s.Target, runs, s.PerSecond.Median, s.ServerCPU.Median, perCPU, extremes, times,
		s.P50, s.P99, s.Lost, s.Duplicates, s.Unsent, s.Generator)
}

package load

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Run is one measured window. Delivered, the CPU times and the latencies are
// of the window; Sent, Lost, Duplicates and Unsent of the run from warm-up to
// drain, so that no loss hides outside the window. For Connects and Idle
// Delivered counts connections, for the first half of Offline what was stored.
type Run struct {
	Kind         Kind    `json:"-"`
	Scenario     string  `json:"scenario"`
	Phase        string  `json:"phase,omitempty"` // store or drain, when Offline
	Target       string  `json:"target"`
	Number       int     `json:"run"`
	Seconds      float64 `json:"seconds"`
	Delivered    uint64  `json:"delivered"`
	ServerCPU    float64 `json:"server_cpu_s"`    // 0 when the pid is unknown
	GeneratorCPU float64 `json:"generator_cpu_s"` // of bench itself
	P50          int64   `json:"p50_us"`          // from the due time in an open loop, else from the write
	P99          int64   `json:"p99_us"`
	P999         int64   `json:"p999_us"`
	Max          int64   `json:"max_us"`
	Sent         uint64  `json:"sent"`
	Lost         uint64  `json:"lost"`
	Duplicates   uint64  `json:"duplicates"`
	Reordered    uint64  `json:"reordered"`
	Unsent       uint64  `json:"unsent"` // open loop: due, but the broker took no more
	RSSBefore    int64   `json:"rss_before_bytes,omitempty"`
	RSSAfter     int64   `json:"rss_after_bytes,omitempty"` // with all Delivered connections open
	Error        string  `json:"error,omitempty"`
}

// The phases of an Offline run.
const (
	storing  = "store"
	draining = "drain"
)

// title names what a summary is of; summaries of one title stand in one table.
func (s *Summary) title() string {
	if s.Phase == "" {
		return s.Scenario
	}
	return s.Scenario + " " + s.Phase
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
	Kind       Kind    `json:"-"`
	Scenario   string  `json:"scenario"`
	Phase      string  `json:"phase,omitempty"`
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
	P999       float64 `json:"p999_us"`
	PerConn    Spread  `json:"bytes_per_connection"`
	RSSBefore  float64 `json:"rss_before_bytes"`
	RSSAfter   float64 `json:"rss_after_bytes"`
	Lost       uint64  `json:"lost"`
	Duplicates uint64  `json:"duplicates"`
	Reordered  uint64  `json:"reordered"`
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
	type key struct{ scenario, phase, target string }
	var order []key
	runs, rank := map[key][]Run{}, map[string]int{}
	for _, run := range r.Runs {
		if run.Error != "" && run.Kind == Offline {
			run.Phase = storing // it came to neither half
		}
		k := key{run.Scenario, run.Phase, run.Target}
		if runs[k] == nil {
			order = append(order, k)
			if _, known := rank[k.scenario]; !known {
				rank[k.scenario] = len(rank)
			}
		}
		runs[k] = append(runs[k], run)
	}
	// A phase follows the one before of all targets; the runs have them in turn.
	slices.SortStableFunc(order, func(a, b key) int {
		return cmp.Or(cmp.Compare(rank[a.scenario], rank[b.scenario]), strings.Compare(b.phase, a.phase))
	})
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
			base[s.title()] = s.PerCPU.Median
		}
	}
	for i := range all {
		if b := base[all[i].title()]; b > 0 {
			all[i].Ratio = all[i].PerCPU.Median / b
		}
	}
}

func summarise(runs []Run) Summary {
	s := Summary{
		Kind: runs[0].Kind, Scenario: runs[0].Scenario, Phase: runs[0].Phase,
		Target: runs[0].Target, Runs: len(runs),
	}
	good := slices.DeleteFunc(slices.Clone(runs), func(r Run) bool { return r.Error != "" })
	s.Failed = len(runs) - len(good)
	s.PerSecond = spread(good, func(r Run) float64 { return ratio(float64(r.Delivered), r.Seconds) })
	s.ServerCPU = spread(good, func(r Run) float64 { return r.ServerCPU })
	s.PerCPU = spread(good, func(r Run) float64 { return ratio(float64(r.Delivered), r.ServerCPU) })
	s.Generator = spread(good, func(r Run) float64 { return ratio(r.GeneratorCPU*1e6, float64(r.Delivered)) }).Median
	s.P50 = spread(good, func(r Run) float64 { return float64(r.P50) }).Median
	s.P99 = spread(good, func(r Run) float64 { return float64(r.P99) }).Median
	s.P999 = spread(good, func(r Run) float64 { return float64(r.P999) }).Median
	s.PerConn = spread(good, func(r Run) float64 { return ratio(float64(r.RSSAfter-r.RSSBefore), float64(r.Delivered)) })
	s.RSSBefore = spread(good, func(r Run) float64 { return float64(r.RSSBefore) }).Median
	s.RSSAfter = spread(good, func(r Run) float64 { return float64(r.RSSAfter) }).Median
	for _, r := range good {
		s.Lost += r.Lost
		s.Duplicates += r.Duplicates
		s.Reordered += r.Reordered
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

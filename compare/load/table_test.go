package load

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

// fullReport has a run of every scenario of every preset on ten targets, with
// figures as wide as they come.
func fullReport(t *testing.T) Report {
	t.Helper()
	plan, err := ParsePresets(all)
	if err != nil {
		t.Fatal(err)
	}
	tls, err := ParseScenario("idle-10000-tls")
	if err != nil {
		t.Fatal(err)
	}
	r := Report{Base: "pushhub", Payload: 100, Duration: 3}
	for _, s := range append(plan, tls) {
		phases := []string{""}
		if s.Kind == Offline {
			phases = []string{storing, draining}
		}
		for i := range 10 {
			name := fmt.Sprintf("broker-%d", i)
			if i == 0 {
				name = "pushhub"
			}
			for _, phase := range phases {
				r.Runs = append(r.Runs, Run{
					Kind: s.Kind, Scenario: s.String(), Phase: phase, Target: name, Seconds: 3,
					Delivered: 36_000_000, ServerCPU: 1.5, GeneratorCPU: 3, P50: 123_456, P99: 1_234_567, P999: 2_345_678,
					Lost: 123_456, Duplicates: 1234, Reordered: 1234, RSSBefore: 1 << 30, RSSAfter: 40 << 30,
				})
			}
		}
	}
	return r
}

func TestTablesKeepBelowAHundredColumns(t *testing.T) {
	r := fullReport(t)
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n >= 100 {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}

func TestTablesShowWhatTheirScenarioIsAbout(t *testing.T) {
	r := fullReport(t)
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	tests := []struct{ title, columns string }{
		{"q0-1-1, 100 B, saturated, 3 s a run", "target runs k msg/s k/CPU-s min..max to pushhub lost dup late bench us"},
		{"q0-10-10@5000, 100 B, 5000 msg/s, 3 s a run", "target runs k/CPU-s min..max p50 us p99 us p99.9 us lost dup late unsent"},
		{"q1-50-50/1, 100 B, window 1, 3 s a run", "target runs k/CPU-s min..max p50 us p99 us p99.9 us lost dup late unsent"},
		{"connect-50, 3 s a run", "target runs k conn/s k/CPU-s min..max to pushhub p50 us p99 us p99.9 us bench us"},
		{"idle-10000", "target runs KiB/conn min..max RSS before MiB after MiB"},
		{"subs-1000, 100 B, saturated, 3 s a run", "target runs k msg/s k/CPU-s min..max to pushhub lost dup late bench us"},
		{"offline-200-100 store, 100 B", "target runs k msg/s k/CPU-s min..max to pushhub lost dup late bench us"},
		{"offline-200-100 drain, 100 B", "target runs k msg/s k/CPU-s min..max to pushhub lost dup late bench us"},
	}
	text := squeeze(b.String())
	for _, tt := range tests {
		if !strings.Contains(text, tt.title+"\n"+tt.columns+"\n") {
			t.Errorf("no table %q with columns %q", tt.title, tt.columns)
		}
	}
}

func TestASummaryOfMemoryIsPerConnection(t *testing.T) {
	r := Report{Runs: []Run{
		{Kind: Idle, Scenario: "idle-10", Target: "a", Delivered: 10, RSSBefore: 1000, RSSAfter: 11_240},
		{Kind: Idle, Scenario: "idle-10", Target: "a", Delivered: 10, RSSBefore: 1000, RSSAfter: 31_720},
		{Kind: Idle, Scenario: "idle-10", Target: "a", Delivered: 10, RSSBefore: 1000, RSSAfter: 21_480},
	}}
	if got := r.Summaries()[0].PerConn; got != (Spread{2048, 1024, 3072}) {
		t.Errorf("got %+v", got)
	}
}

func TestTheOverviewMarksFiguresThatStandBesideNoOther(t *testing.T) {
	tests := []struct {
		s    Summary
		want string
	}{
		{Summary{Runs: 1, PerCPU: Spread{Median: 12_340}}, "12.3"},
		{Summary{Runs: 1, PerCPU: Spread{Median: 12_340}, Lost: 1}, "12.3!"},
		{Summary{Runs: 2, PerCPU: Spread{Median: 12_340}, Failed: 1}, "12.3!"},
		{Summary{Runs: 1, Kind: Idle, PerConn: Spread{Median: 2048}}, "2.0"},
		{Summary{Runs: 1, Kind: Idle, Failed: 1}, "-!"},
		{Summary{Runs: 1}, "-"},
	}
	for _, tt := range tests {
		if got := tt.s.figure(); got != tt.want {
			t.Errorf("%+v: got %q, want %q", tt.s, got, tt.want)
		}
	}
}

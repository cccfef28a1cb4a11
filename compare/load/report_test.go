package load

import (
	"encoding/json"
	"strings"
	"testing"
)

func sampleReport() Report {
	run := func(target string, delivered uint64, cpu float64) Run {
		return Run{
			Scenario: "q0-1-1", Target: target, Seconds: 2, Delivered: delivered, ServerCPU: cpu,
			GeneratorCPU: 0.5, P50: 40, P99: 900, Sent: delivered, Lost: 1,
		}
	}
	bad := run("other", 0, 0)
	bad.Error = "target other: refused"
	unknown := run("unknown", 10, 0)
	unknown.Scenario = "q1-2-2"
	return Report{Base: "first", Payload: 100, Duration: 2, Runs: []Run{
		run("first", 100_000, 1), run("other", 400_000, 2),
		run("first", 300_000, 1), run("other", 800_000, 2),
		run("first", 200_000, 1), bad, unknown,
	}}
}

func TestTable(t *testing.T) {
	r := sampleReport()
	var b strings.Builder
	if err := r.WriteTable(&b); err != nil {
		t.Fatal(err)
	}
	want := `
q0-1-1, 100 B, saturated, 2 s a run
  target         runs  k msg/s  k/CPU-s      min..max  to first  lost  dup  late  bench us
   first            3    100.0    200.0  100.0..300.0      1.00     3    0     0      2.50
   other  3, 1 failed    300.0    300.0  200.0..400.0      1.50     2    0     0      0.94

q1-2-2, 100 B, saturated, 2 s a run
   target  runs  k msg/s  k/CPU-s  min..max  to first  lost  dup  late  bench us
  unknown     1      0.0        -         -         -     1    0     0  50000.00

Medians, thousands for each second of server CPU; idle: KiB a connection
   target  q0-1-1  q1-2-2
    first  200.0!
    other  300.0!
  unknown              -!

`
	if got := squeeze(b.String()); got != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

// squeeze leaves the alignment to text/tabwriter.
func squeeze(s string) string {
	var lines []string
	for line := range strings.Lines(s) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return strings.Join(lines, "\n")
}

func TestJSONHoldsEveryRunAndTheSummaries(t *testing.T) {
	r := sampleReport()
	var b strings.Builder
	if err := r.WriteJSON(&b); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Base      string
		Runs      []Run
		Summaries []Summary
	}
	if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
		t.Fatal(err)
	}
	if got.Base != "first" || len(got.Runs) != 7 || len(got.Summaries) != 3 {
		t.Fatalf("got %s", b.String())
	}
	if s := got.Summaries[1]; s.Failed != 1 || s.PerCPU != (Spread{300_000, 200_000, 400_000}) || s.Ratio != 1.5 {
		t.Errorf("summary of other: %+v", s)
	}
}

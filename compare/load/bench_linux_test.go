package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
	"go.uber.org/goleak"
)

// relayMode makes the test binary a broker of its own, for tests that start one.
const relayMode = "run-as-relay"

func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == relayMode {
		os.Exit(runRelay(os.Args[2], os.Args[3]))
	}
	goleak.VerifyTestMain(m)
}

// runRelay tells its pid in a file and serves until it is killed.
func runRelay(addr, pidFile string) int {
	if err := os.WriteFile(pidFile, []byte(strconv.Itoa(os.Getpid())), 0o600); err != nil {
		return 1
	}
	if addr == "fail" {
		fmt.Println("no such listener")
		return 1
	}
	inner, err := startRelay(&relay{})
	if err != nil {
		return 1
	}
	front, err := net.Listen("tcp", addr)
	if err != nil {
		return 1
	}
	for {
		conn, err := front.Accept()
		if err != nil {
			return 1
		}
		back, err := net.Dial("tcp", inner.addr())
		if err != nil {
			return 1
		}
		go io.Copy(back, conn)
		go io.Copy(conn, back)
	}
}

type allowAll struct{ mqtt.HookBase }

func (allowAll) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}
func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }
func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool              { return true }

func startMochi(t *testing.T) string {
	t.Helper()
	_, addr := startMochiServer(t)
	return addr
}

func startMochiServer(t *testing.T) (*mqtt.Server, string) {
	t.Helper()
	s := mqtt.New(&mqtt.Options{Logger: slog.New(slog.DiscardHandler)})
	if err := s.AddHook(new(allowAll), nil); err != nil {
		t.Fatal(err)
	}
	l := listeners.NewTCP(listeners.Config{ID: "t", Address: "127.0.0.1:0"})
	if err := s.AddListener(l); err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s, l.Address()
}

func relayFor(t *testing.T, r *relay) string {
	t.Helper()
	if _, err := startRelay(r); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(r.close)
	return r.addr()
}

func shortOptions(t *testing.T, scenarios string, targets ...Target) Options {
	t.Helper()
	list, err := ParseScenarios(scenarios)
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		Targets: targets, Scenarios: list, Runs: 1, Payload: 32,
		Duration: 50 * time.Millisecond, Warmup: 10 * time.Millisecond,
	}
}

func TestEveryShapeRunsAgainstMochiWithoutLoss(t *testing.T) {
	addr := startMochi(t)
	const shapes = "q0-1-1,q0-5-5,q0-4-1,q0-1-4,q1-3-3,q1-4-1,q2-2-2,q2-1-3,q1p-3-3,q1p-1-4,q2p-2-2"
	for _, rate := range []float64{0, 2000} {
		o := shortOptions(t, shapes, Target{Name: "mochi", Addr: addr, PID: os.Getpid()})
		o.Rate = rate
		report, err := Bench(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		if len(report.Runs) != len(o.Scenarios) {
			t.Fatalf("%d runs of %d scenarios", len(report.Runs), len(o.Scenarios))
		}
		for _, r := range report.Runs {
			if r.Sent == 0 || r.Lost != 0 || r.Duplicates != 0 || r.P50 > r.P99 {
				t.Errorf("rate %v: %+v", rate, r)
			}
		}
	}
}

func TestPersistentSessionsAreRemovedAtTheEndOfARun(t *testing.T) {
	s, addr := startMochiServer(t)
	o := shortOptions(t, "q1p-3-3", Target{Name: "mochi", Addr: addr})
	kept := 0
	if report, err := Bench(t.Context(), o); err != nil || report.Runs[0].Lost != 0 {
		t.Fatalf("%+v, error %v", report.Runs, err)
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-tick.C {
		if kept = s.Clients.Len(); kept == 0 {
			return
		}
	}
	t.Errorf("%d sessions are left", kept)
}

// A starved machine may see nothing within a short window: longer ones follow.
func TestLatencyIsMeasuredInBothLoops(t *testing.T) {
	addr := startMochi(t)
	for _, rate := range []float64{0, 2000} {
		o := shortOptions(t, "q0-1-1", Target{Name: "mochi", Addr: addr})
		o.Rate = rate
		seen := false
		for ; !seen && o.Duration < 10*time.Second; o.Duration *= 4 {
			report, err := Bench(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			r := report.Runs[0]
			seen = r.P50 > 0 && r.P99 >= r.P50 && r.Max >= r.P99
		}
		if !seen {
			t.Errorf("rate %v: no latency was measured", rate)
		}
	}
}

func TestPayloadsBeyondTheSocketBuffersArriveWhole(t *testing.T) {
	o := shortOptions(t, "q0-4-4", Target{Name: "relay", Addr: relayFor(t, &relay{})})
	o.Payload, o.Window = maxPayload, 5
	report, err := Bench(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Runs[0]; r.Sent == 0 || r.Lost != 0 || r.Duplicates != 0 {
		t.Errorf("%+v", r)
	}
}

func TestRunsOfTargetsAreInterleaved(t *testing.T) {
	addr := startMochi(t)
	o := shortOptions(t, "q0-1-1,q1-1-1", Target{Name: "a", Addr: addr}, Target{Name: "b", Addr: addr})
	o.Runs = 2
	var order []string
	o.Progress = func(r Run) { order = append(order, fmt.Sprintf("%s%d%s", r.Scenario[:2], r.Number, r.Target)) }
	if _, err := Bench(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(order, " "); got != "q01a q01b q02a q02b q11a q11b q12a q12b" {
		t.Errorf("order: %s", got)
	}
}

func TestLossesAreCountedAndDoNotStallTheRun(t *testing.T) {
	addr := relayFor(t, &relay{dropAt: 10})
	o := shortOptions(t, "q0-2-2", Target{Name: "lossy", Addr: addr})
	o.Rate = 20_000
	report, err := Bench(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Runs[0]; r.Lost < r.Sent/10-2 || r.Lost > r.Sent/10+2 {
		t.Errorf("lost %d of %d, want a tenth", r.Lost, r.Sent)
	}
}

func TestFailuresNameTheTarget(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	tests := []struct {
		name, addr, want string
	}{
		{"refused", relayFor(t, &relay{connack: 5}), "not authorized"},
		{"hangs up", relayFor(t, &relay{hangUpAt: 20}), "broker closed the connection"},
		{"not there", closed.Addr().String(), "connecting"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := Bench(t.Context(), shortOptions(t, "q0-1-1", Target{Name: "peer-x", Addr: tt.addr}))
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(err.Error(), "peer-x") {
				t.Errorf("error %v, wanted one about %q of peer-x", err, tt.want)
			}
		})
	}
}

func TestOneFailingTargetLeavesTheOthersMeasured(t *testing.T) {
	o := shortOptions(t, "q0-1-1",
		Target{Name: "bad", Addr: relayFor(t, &relay{connack: 3})},
		Target{Name: "good", Addr: relayFor(t, &relay{})})
	report, err := Bench(t.Context(), o)
	if err == nil || len(report.Runs) != 2 {
		t.Fatalf("%d runs, error %v", len(report.Runs), err)
	}
	if report.Runs[0].Error == "" || report.Runs[1].Error != "" || report.Runs[1].Sent == 0 {
		t.Errorf("runs: %+v", report.Runs)
	}
}

func TestAnEndedContextEndsTheBench(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := shortOptions(t, "q0-1-1", Target{Name: "a", Addr: relayFor(t, &relay{})})
	o.Duration, o.Runs = time.Minute, 5
	timer := time.AfterFunc(50*time.Millisecond, cancel)
	defer timer.Stop()
	if _, err := Bench(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestAStartedTargetIsMeasuredAndKilled(t *testing.T) {
	pidFile := t.TempDir() + "/pid"
	target, err := ParseTarget(fmt.Sprintf("own=exec:sh -c '%s %s 127.0.0.1:{port} %s; :'@127.0.0.1:{port}", os.Args[0], relayMode, pidFile))
	if err != nil {
		t.Fatal(err)
	}
	o := shortOptions(t, "q0-2-2", target)
	o.Duration = 300 * time.Millisecond
	report, err := Bench(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if r := report.Runs[0]; r.Sent == 0 || r.ServerCPU == 0 {
		t.Errorf("the grandchild's CPU time is missing: %+v", r)
	}
	text, err := os.ReadFile(pidFile)
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil {
		t.Fatal(err)
	}
	waitGone(t, pid)
}

func TestATargetThatIgnoresTheEndIsKilled(t *testing.T) {
	pidFile := t.TempDir() + "/pid"
	script := fmt.Sprintf("trap : TERM; %s %s 127.0.0.1:{port} %s & while :; do wait; sleep 0.05; done", os.Args[0], relayMode, pidFile)
	s, err := raise(t.Context(), Target{Name: "own", Addr: "127.0.0.1:{port}", Command: []string{"sh", "-c", script}})
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{}) // closed by the goroutine below when stop returns
	go func() {
		defer close(ended)
		s.stop()
	}()
	select {
	case <-ended:
	case <-time.After(stopTime + 5*time.Second):
		syscall.Kill(-s.pid, syscall.SIGKILL)
		<-ended
		t.Error("stop did not end it")
	}
	waitGone(t, s.pid)
}

// waitGone returns once the process is gone or a zombie nobody reaped yet.
func waitGone(t *testing.T, pid int) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); <-tick.C {
		if syscall.Kill(pid, 0) != nil {
			return
		}
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil || strings.Contains(string(line), ") Z ") {
			return
		}
	}
	t.Errorf("process %d outlived the bench", pid)
}

func TestATargetThatEndsAtOnceSaysWhy(t *testing.T) {
	target := Target{Name: "own", Addr: "127.0.0.1:{port}", Command: []string{os.Args[0], relayMode, "fail", t.TempDir() + "/pid"}}
	_, err := Bench(t.Context(), shortOptions(t, "q0-1-1", target))
	if err == nil || !strings.Contains(err.Error(), "no such listener") {
		t.Errorf("error %v", err)
	}
}

// BenchmarkGenerator reports what the generator itself costs, on a relay that
// costs next to nothing: the ceiling of what it can show of any broker.
func BenchmarkGenerator(b *testing.B) {
	for _, shape := range []string{"q0-1-1", "q0-50-50"} {
		b.Run(shape, func(b *testing.B) {
			r, err := startRelay(&relay{})
			if err != nil {
				b.Fatal(err)
			}
			defer r.close()
			sc, err := ParseScenario(shape)
			if err != nil {
				b.Fatal(err)
			}
			o := Options{
				Targets: []Target{{Name: "relay", Addr: r.addr()}}, Scenarios: []Scenario{sc}, Runs: 1,
				Duration: 2 * time.Second, Warmup: 200 * time.Millisecond, Payload: 100,
			}
			for b.Loop() {
				report, err := Bench(b.Context(), o)
				if err != nil {
					b.Fatal(err)
				}
				run := report.Runs[0]
				b.ReportMetric(float64(run.Delivered)/run.Seconds, "msg/s")
				b.ReportMetric(run.GeneratorCPU*1e9/float64(run.Delivered), "generator-ns/msg")
				b.ReportMetric(float64(run.Lost), "lost")
			}
		})
	}
}

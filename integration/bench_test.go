package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// benchRun is what the test reads of a run in bench's JSON.
type benchRun struct {
	Scenario, Phase, Target, Error string
	Delivered, Sent                uint64
	Lost, Duplicates               uint64
	RSSBefore                      int64 `json:"rss_before_bytes"`
	RSSAfter                       int64 `json:"rss_after_bytes"`
}

// benchTargets are a hub, the stock mochi peer and the bare relay, each started
// by bench.
func benchTargets(t *testing.T) []string {
	t.Helper()
	hub := hubtest.Binary(t)
	mochi := filepath.Join(t.TempDir(), "mochi")
	build := exec.Command("go", "build", "-o", mochi, "./integration/peers/mochi")
	build.Dir = hubtest.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building the peer: %v\n%s", err, out)
	}
	const at = "@127.0.0.1:{port}"
	return []string{
		"--target", fmt.Sprintf("hub=exec:%s serve --data-dir {dir} --mqtt-anonymous true --mqtt-listen 127.0.0.1:{port} "+
			"--mqtt-tls-listen 127.0.0.1:{tlsport} --xmpp-listen '' --xmpp-tls-listen ''%s,tls=127.0.0.1:{tlsport}", hub, at),
		"--target", fmt.Sprintf("mochi=exec:%s -addr 127.0.0.1:{port}%s", mochi, at),
		"--target", fmt.Sprintf("relay=exec:%s bench relay 127.0.0.1:{port}%s", hub, at),
	}
}

func TestBenchMeasuresTheHubBesideItsPeers(t *testing.T) {
	// What bench does not measure everywhere: the relay keeps no sessions, only the hub has TLS.
	const everywhere = "q0-2-2,q0-1-3,q1p-2-2,q2-1-1,q0-2-2@1000,q1-3-3/1,connect-2,subs-300,idle-10"
	targets := benchTargets(t)
	runs := bench(t, append(targets, "--scenario", everywhere))
	seen := map[string]int{}
	for _, r := range runs {
		seen[r.Scenario]++
		if r.Scenario == "idle-10" && (r.RSSBefore == 0 || r.RSSAfter == 0) {
			t.Errorf("no memory was read: %+v", r)
		}
	}
	for name := range strings.SplitSeq(everywhere, ",") {
		if seen[name] != 3 {
			t.Errorf("%s ran %d times on three targets", name, seen[name])
		}
	}
	runs = bench(t, append(targets[:4:4], "--scenario", "offline-3-4,idle-5-tls"))
	var got []string
	for _, r := range runs {
		got = append(got, fmt.Sprintf("%s %s %s %d", r.Scenario, r.Phase, r.Target, r.Delivered))
	}
	want := []string{
		"offline-3-4 store hub 12", "offline-3-4 drain hub 12", "offline-3-4 store mochi 12", "offline-3-4 drain mochi 12",
		"idle-5-tls  hub 5",
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q", got)
	}
}

// bench runs short windows, and wants every run to be good.
func bench(t *testing.T, flags []string) []benchRun {
	t.Helper()
	saved := filepath.Join(t.TempDir(), "runs.json")
	argv := append([]string{"bench", "--json", "--save", saved, "--repeats", "1", "--duration", "50ms", "--warmup", "10ms", "--settle", "1ms"}, flags...)
	cmd := exec.Command(hubtest.Binary(t), argv...)
	var diagnosis strings.Builder
	cmd.Stderr, cmd.Env = &diagnosis, hubtest.CleanEnv()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, diagnosis.String())
	}
	if same, err := os.ReadFile(saved); err != nil || !bytes.Equal(same, out) {
		t.Errorf("what was saved is not what was printed, error %v", err)
	}
	var report struct{ Runs []benchRun }
	if err := json.Unmarshal(out, &report); err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Runs {
		if r.Error != "" || r.Lost != 0 || r.Duplicates != 0 || r.Delivered+r.Sent == 0 {
			t.Errorf("%+v", r)
		}
	}
	return report.Runs
}

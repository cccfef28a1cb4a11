package faults

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

// A sabotage is a source file with one guard taken out of it, by replacement of text.
type sabotage struct {
	name     string
	file     string // below the root
	old, new string // old must be there exactly once
	found    func(*Report) int
}

var sabotages = []sabotage{
	{
		"PUBACK before the record is stored", "core/publish.go",
		"a.addr, m, a.storedCopied(token, m))\n\t\tif err != nil {\n\t\t\treturn false, err\n\t\t}\n\t\tpending = true",
		"a.addr, m, func(journal.Position, error) {})\n\t\tif err != nil {\n\t\t\treturn false, err\n\t\t}",
		func(r *Report) int { return r.Lost },
	},
	{
		"no marker of inbound QoS 2", "core/apply.go",
		"\t\tr.applyInbound(pos, rec",
		"\t\t(func(...any) {})(pos, rec",
		func(r *Report) int { return r.Doubled },
	},
	{
		"QoS 2 sent before its window is stored", "core/session.go",
		"if e.QoS == 2 && !e.Value.Saved && (s.durable",
		"if false && (s.durable",
		func(r *Report) int { return r.Doubled },
	},
	{
		"<a h/> before the message is stored", "xmppfront/sm.go",
		"\t\treturn m.stable\n\t}\n\treturn m.handled\n",
		"\t}\n\treturn m.received\n",
		func(r *Report) int { return r.Lost },
	},
}

// TestTheRigFindsBrokenGuards takes the hub's guards away one by one, and wants
// the rig to see it each time.
func TestTheRigFindsBrokenGuards(t *testing.T) {
	if !*guards {
		t.Skip("builds hubs and runs each for a while; ask for it with -faults.guards")
	}
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) {
			opt := options(t, s.build(t))
			opt.Tame = true
			if opt.Rounds == 0 && opt.For == 0 {
				opt.Rounds = 12
			}
			report := run(t, opt)
			t.Logf("\n%s", report)
			if s.found(report) == 0 {
				t.Errorf("the rig did not find it:\n%s", report.Details)
				return
			}
			first, _, _ := strings.Cut(report.Details, "\n")
			t.Logf("found, the first: %s", first)
		})
	}
}

func (s *sabotage) path() string { return filepath.Join(hubtest.Root(), s.file) }

// source is the file, in which the guard must be as it was when this test was written.
func (s *sabotage) source(t *testing.T) string {
	t.Helper()
	source, err := os.ReadFile(s.path())
	if err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(string(source), s.old); n != 1 {
		t.Fatalf("the guard is %d times in %s, want once; it looked so when this test was written:\n%s", n, s.file, s.old)
	}
	return string(source)
}

func TestEveryGuardIsWhereTheRigTakesItAway(t *testing.T) {
	for _, s := range sabotages {
		t.Run(s.name, func(t *testing.T) { s.source(t) })
	}
}

// build builds a hub without the guard. The sources stay as they are.
func (s *sabotage) build(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	without := filepath.Join(dir, "without.go")
	if err := os.WriteFile(without, []byte(strings.Replace(s.source(t), s.old, s.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{s.path(): without}})
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, overlay, 0o600); err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(dir, "pushhub")
	build := exec.Command("go", "build", "-overlay", list, "-o", binary, "./cmd/pushhub")
	build.Dir = hubtest.Root()
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building a hub without the guard: %v\n%s", err, out)
	}
	return binary
}

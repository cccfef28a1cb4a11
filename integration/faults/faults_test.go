package faults

import (
	"flag"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"pushhub/integration/hubtest"
)

var (
	rounds = flag.Int("faults.rounds", 0, "rounds of load, each ending with kill -9")
	during = flag.Duration("faults.for", 0, "as many rounds as fit into this time")
	seed   = flag.Uint64("faults.seed", 0, "what decides the faults; 0: a new one")
	rate   = flag.Float64("faults.rate", 5000, "messages a second that the senders aim at together")
	disk   = flag.Bool("faults.disk", true, "make the disk full too, where a loop device can be mounted")
	keep   = flag.String("faults.keep", "", "directory for what is left of a failed run; empty: the system's temporary one")
	all    = flag.Bool("faults.histories", false, "print what happened to every device")
	guards = flag.Bool("faults.guards", false, "check that the rig finds a hub whose guards are removed")
)

func TestMain(m *testing.M) { hubtest.Main(m) }

// TestFaults breaks the hub under load: nothing that was acknowledged may be
// lost, nothing may come twice at QoS 2, nothing may come out of order.
func TestFaults(t *testing.T) {
	if *rounds == 0 && *during == 0 {
		t.Skip("faults are injected by: make faults (or -faults.rounds=3)")
	}
	opt := options(t, hubtest.Binary(t))
	report := run(t, opt)
	t.Logf("\n%s", report)
	if *all {
		t.Log(report.Histories)
	}
	if report.Failed() {
		t.Errorf("the hub broke its promises:\n%s", report.Details)
	}
}

// options are what the flags say, with a directory that outlives a failure.
func options(t *testing.T, binary string) Options {
	t.Helper()
	dir, err := os.MkdirTemp(*keep, "pushhub-faults-")
	if err != nil {
		t.Fatal(err)
	}
	opt := Options{
		Binary: binary, Dir: dir, Seed: *seed, Rounds: *rounds, For: *during, Rate: *rate,
		Log: func(format string, args ...any) { t.Helper(); t.Logf(format, args...) },
	}
	if opt.Seed == 0 {
		opt.Seed = rand.Uint64() | 1
	}
	t.Logf("seed %d; the same faults again: -faults.seed=%d", opt.Seed, opt.Seed)
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the hub's log and data are kept in %s", dir)
			return
		}
		_ = os.RemoveAll(dir)
	})
	return opt
}

// run is Run on a disk that can be made full, where there is one.
func run(t *testing.T, opt Options) *Report {
	t.Helper()
	if *disk && !opt.Tame {
		d, err := MountDisk(opt.Dir, 4<<30)
		if err != nil {
			t.Logf("LEFT OUT: the disk is never full, since no file system can be mounted here: %v", err)
		} else {
			opt.Disk = d
			defer unmount(t, opt.Dir, d)
		}
	}
	begin := time.Now()
	report, err := Run(t.Context(), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("ran for %v", time.Since(begin).Round(time.Second))
	return report
}

// unmount saves the data of a failed run from the disk, and lets it go.
func unmount(t *testing.T, dir string, d *Disk) {
	t.Helper()
	if err := d.Free(); err != nil {
		t.Error(err)
	}
	if t.Failed() {
		if out, err := exec.Command("cp", "-a", filepath.Join(d.Path, "data"), filepath.Join(dir, "data")).CombinedOutput(); err != nil {
			t.Logf("keeping the data: %v: %s", err, out)
		}
	}
	if err := d.Unmount(); err != nil {
		t.Error(err)
	}
	_ = os.Remove(d.image)
}

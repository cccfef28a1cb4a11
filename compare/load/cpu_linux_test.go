package load

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	tests := []struct {
		name, line string
		want       procStat
		bad        bool
	}{
		{
			"plain", "42 (run) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 20 30 20 0 1 0 5 6 7\n",
			procStat{parent: 7, own: 2 * time.Second, waited: 500 * time.Millisecond},
			false,
		},
		{
			"name with blanks and parentheses", "42 (a) S (b c) R 1 42 42 0 -1 4194304 1 2 3 4 1 0 0 0 20 0\n",
			procStat{parent: 1, own: 10 * time.Millisecond},
			false,
		},
		{"no name", "42 run S 7", procStat{}, true},
		{"cut", "42 (run) S 7 42", procStat{}, true},
		{"not a number", "42 (run) S 7 42 42 0 -1 4194304 1 2 3 4 x 50 20 30 20 0", procStat{}, true},
		{"parent not a number", "42 (run) S x 42 42 0 -1 4194304 1 2 3 4 1 50 20 30 20 0", procStat{}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.line))
			if got != tt.want || (err != nil) != tt.bad {
				t.Errorf("got %+v, error %v", got, err)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte("42 (run) S 7 42 42 0 -1 4194304 1 2 3 4 150 50 20 30 20 0"))
	f.Fuzz(func(_ *testing.T, line []byte) {
		parseStat(line) // must return, whatever the line
	})
}

func TestDescendSumsAWholeTreeAndNothingElse(t *testing.T) {
	const none = 1 << 25 // no process has such an id: what stat says counts
	all := map[int]procStat{
		none + 2: {parent: 1, own: 1}, none + 3: {parent: none + 2, own: 4, waited: 6}, none + 4: {parent: none + 3, own: 100},
		none + 5: {parent: none + 9, own: 1000}, none + 6: {parent: none + 6, own: 10_000},
	}
	if got := descend(all, none+2); got != 110 {
		t.Errorf("got %d, want 110", got)
	}
}

func TestTreeCPUOfALiveAndOfNoProcess(t *testing.T) {
	if _, err := treeCPU(os.Getpid()); err != nil {
		t.Error(err)
	}
	if _, err := treeCPU(1 << 30); err == nil {
		t.Error("a pid that cannot exist has a CPU time")
	}
}

func TestTheCPUClockIsFinerThanATick(t *testing.T) {
	var got time.Duration
	for i := 0; got%clockTick == 0; i++ {
		if i == 1000 {
			t.Fatalf("always whole ticks: %v", got)
		}
		got = procStat{own: time.Hour}.cpu(os.Getpid())
	}
	if got >= time.Hour {
		t.Errorf("got what stat says: %v", got)
	}
}

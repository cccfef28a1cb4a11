package load

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestParseStatm(t *testing.T) {
	page := int64(os.Getpagesize())
	tests := []struct {
		line string
		want int64 // negative: an error
	}{
		{"500 20 3 1 0 4 0", 20 * page},
		{"500 0", 0},
		{"500", -1},
		{"", -1},
		{"500 x 3", -1},
		{"500 -3 3", -1},
		{"500 999999999999999999 3", -1},
	}
	for _, tt := range tests {
		got, err := parseStatm([]byte(tt.line))
		if (err != nil) != (tt.want < 0) || err == nil && got != tt.want {
			t.Errorf("%q: got %d, error %v", tt.line, got, err)
		}
	}
}

func FuzzParseStatm(f *testing.F) {
	f.Add([]byte("500 20 3 1 0 4 0"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if n, err := parseStatm(line); err == nil && n < 0 {
			t.Errorf("%q is %d bytes", line, n)
		}
	})
}

func TestSettlingWaitsUntilTheMemoryStandsStill(t *testing.T) {
	readings := []int64{100, 200, 300, 300, 301, 400, 400, 401, 401, 900}
	i := -1
	got, err := settle(t.Context(), 0, func() (int64, error) { i++; return readings[i], nil })
	if err != nil || got != 401 || i != 8 {
		t.Errorf("got %d at reading %d, error %v", got, i, err)
	}
}

func TestSettlingEnds(t *testing.T) {
	n := int64(0)
	if got, err := settle(t.Context(), 0, func() (int64, error) { n += 1000; return n, nil }); err != nil || got != settleMost*1000 {
		t.Errorf("a memory that always grows: %d, error %v", got, err)
	}
	gone := errors.New("gone")
	if _, err := settle(t.Context(), 0, func() (int64, error) { return 0, gone }); !errors.Is(err, gone) {
		t.Errorf("a process that has ended: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := settle(ctx, time.Hour, func() (int64, error) { return 0, nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("an ended context: %v", err)
	}
}

func TestMemoryIsThatOfTheWholeTree(t *testing.T) {
	all := map[int]procStat{2: {parent: 1}, 3: {parent: 2}, 4: {parent: 3}, 6: {parent: 7}, 7: {parent: 6}}
	for pid, want := range map[int]bool{3: true, 4: true, 2: false, 5: false, 6: false} {
		if got := descends(all, pid, 2); got != want {
			t.Errorf("%d descends from 2: %v", pid, got)
		}
	}
	s := &server{pid: os.Getpid()}
	if n, err := s.memory(); err != nil || n < 1<<20 {
		t.Errorf("%d bytes, error %v", n, err)
	}
	if _, err := (&server{}).memory(); err == nil {
		t.Error("the memory of an unknown process was read")
	}
}

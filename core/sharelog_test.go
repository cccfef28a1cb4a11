package core

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pushhub/core/journal"
)

// sampleShare is a share on n records, all of which are taken by a session.
func sampleShare(r *Router, n int) (*share, *Session) {
	sh, s := &share{text: "$share/g/t"}, newSession(r, Address{"u", "a"}, true)
	df := &durableFilter{text: sh.text, share: sh}
	for i := range n {
		df.postings.Add(journal.At(uint64(i+1), 0), 1)
	}
	sh.own(s, df, 0, false)
	for i := range n {
		sh.held(r, journal.At(uint64(i+1), 0), s)
	}
	return sh, s
}

func TestCheckpointSplitsALargeShare(t *testing.T) {
	const many = 2*maxPostings + 5
	r := NewRouter(Options{})
	sh, s := sampleShare(r, many)
	values := sh.entries()
	if len(values) != 3 {
		t.Fatalf("%d entries, want 3", len(values))
	}
	again := NewRouter(Options{})
	again.mu.Lock()
	restored := again.share(sh.text)
	again.mu.Unlock()
	restored.own(s, &durableFilter{text: sh.text, share: restored}, 0, false)
	for i, value := range values {
		load := again.loadShare
		if i > 0 {
			load = again.loadOpen
		}
		if err := load(sh.text, value); err != nil {
			t.Fatal(err)
		}
	}
	restored.know()
	if want := slices.Sorted(maps.Keys(sh.open)); restored.cursor != sh.cursor || !slices.Equal(restored.free, want) {
		t.Errorf("cursor %v, %d open; want %v, %d", restored.cursor, len(restored.free), sh.cursor, len(want))
	}
}

func TestDoneRecordSettlesPositionsAndAnOpenOneFreesThem(t *testing.T) {
	r := NewRouter(Options{})
	sh, s := sampleShare(r, 5)
	sh.postings.Add(journal.At(6, 0), 1)
	sh.postings.Add(journal.At(7, 0), 1)
	strays := sh.applyOpen(r, 1000, []journal.Position{journal.At(2, 0), journal.At(7, 0)}, false)
	if len(strays) != 1 || strays[0].session != s || strays[0].pos != journal.At(2, 0) {
		t.Errorf("strays %v", strays)
	}
	want := map[journal.Position]*Session{
		journal.At(1, 0): s, journal.At(3, 0): s, journal.At(4, 0): s, journal.At(5, 0): s, journal.At(6, 0): nil,
	}
	if sh.cursor != journal.At(7, 0)+1 || !maps.Equal(sh.open, want) {
		t.Errorf("cursor %v, open %v", sh.cursor, sh.open)
	}
	sh.applyOpen(r, 1001, []journal.Position{journal.At(2, 0), journal.At(3, 0), journal.At(7, 0)}, true)
	want[journal.At(2, 0)], want[journal.At(7, 0)] = nil, nil
	if !maps.Equal(sh.open, want) {
		t.Errorf("open again: %v", sh.open)
	}
}

func FuzzDecodeShare(f *testing.F) {
	r := NewRouter(Options{})
	sh, _ := sampleShare(r, 3)
	f.Add(sh.append(nil))
	f.Add(appendPositions(nil, []journal.Position{1, 2, 900}))
	f.Fuzz(func(t *testing.T, b []byte) {
		sh, _ := sampleShare(r, 3)
		if _, err := sh.apply(&journal.Decoder{Rest: b}); err != nil && !errors.Is(err, journal.ErrCorrupt) {
			t.Errorf("share: %v", err)
		}
		d := journal.Decoder{Rest: b}
		positions := decodePositions(&d)
		if d.Err != nil && !errors.Is(d.Err, journal.ErrCorrupt) {
			t.Errorf("positions: %v", d.Err)
		}
		sh, _ = sampleShare(r, 3)
		sh.applyOpen(r, 1002, positions, false)
	})
}

package bus

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
	"pushhub/core/journal"
)

// written makes a backup by hand.
func written(frames []uint64, first, last uint64) []byte {
	var file bytes.Buffer
	w := newBackupWriter(&file, time.UnixMilli(1), 0)
	_ = w.extra(Extra{"key", []byte("secret")})
	_ = w.bucket(core.BucketAccounts)
	_ = w.row(row("ada", "old"))
	_ = w.row(row("ada", "new"))
	_ = w.bucket(core.BucketRetained)
	_ = w.bounds(first, last)
	for _, seq := range frames {
		var f journal.Frame
		f.Add(fmt.Append(nil, "record ", seq))
		_ = w.frame(seq, subjectPrefix+"n1-x", f.Bytes())
	}
	_ = w.end()
	return file.Bytes()
}

func TestRestoredLogKeepsItsSequences(t *testing.T) {
	tests := []struct {
		name        string
		frames      []uint64
		first, last uint64
	}{
		{"empty and new", nil, 1, 0},
		{"emptied by retention", nil, 101, 100},
		{"from the first", []uint64{1, 2, 3}, 1, 3},
		{"its front is gone", []uint64{70, 71}, 70, 71},
		{"with holes", []uint64{5, 8, 9, 12}, 5, 12},
	}
	eachStore(t, func(t *testing.T, _ stores, place Options) {
		for i, tt := range tests {
			t.Run(tt.name, func(t *testing.T) {
				place := place
				if place.Dir != "" {
					place.Dir += fmt.Sprint(i)
				} else {
					place.URL = startExternal(t).url
				}
				if err := restore(t, written(tt.frames, tt.first, tt.last), place); err != nil {
					t.Fatal(err)
				}
				n := place.open(t)
				f := follow(t, n, 1)
				f.catchUp()
				if len(f.order) != len(tt.frames) {
					t.Errorf("%d frames, want %d", len(f.order), len(tt.frames))
				}
				for _, seq := range tt.frames {
					if got := f.records[journal.At(seq, 0)]; got != fmt.Sprint("record ", seq) {
						t.Errorf("frame %d holds %q", seq, got)
					}
				}
				if o := await(t, mustAppend(t, n, "next")); o.pos != journal.At(tt.last+1, 0) {
					t.Errorf("the next record: %v", o)
				}
				expect(t, n, core.BucketAccounts, map[string]string{"ada": "new"})
				f.stop()
				closeNode(t, n)
			})
		}
	})
}

func TestBackupOfARestoredStoreIsTheSame(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a")
	if err := restore(t, written([]uint64{5, 8}, 5, 8), Options{Dir: dir}); err != nil {
		t.Fatal(err)
	}
	n := embeddedAt(t, dir)
	info, err := Inspect(bytes.NewReader(backUp(t, n)))
	if err != nil || info.First != 5 || info.Last != 8 || info.Frames != 2 || info.Rows[core.BucketAccounts] != 1 {
		t.Errorf("%+v, %v", info, err)
	}
	closeNode(t, n)
}

// changing is a file that is another one when it is read again.
type changing struct {
	io.ReadSeeker
	then io.ReadSeeker
	seen int
}

func (c *changing) Seek(offset int64, whence int) (int64, error) {
	if c.seen++; c.seen == 2 {
		c.ReadSeeker = c.then
	}
	return c.ReadSeeker.Seek(offset, whence)
}

func TestFailedRestoreLeavesNothing(t *testing.T) {
	good := written([]uint64{5, 8}, 5, 8)
	for _, then := range [][]byte{good[:len(good)-1], written([]uint64{5}, 5, 5)} {
		eachStore(t, func(t *testing.T, _ stores, place Options) {
			b, err := OpenBackup(&changing{ReadSeeker: bytes.NewReader(good), then: bytes.NewReader(then)})
			if err != nil {
				t.Fatal(err)
			}
			if err := b.Restore(t.Context(), place); !errors.Is(err, ErrBackup) {
				t.Errorf("restore: %v", err)
			}
			n := place.open(t)
			expect(t, n, core.BucketAccounts, map[string]string{})
			f := follow(t, n, 1)
			f.catchUp()
			if len(f.order) != 0 {
				t.Errorf("%d records are left", len(f.order))
			}
			f.stop()
			closeNode(t, n)
		})
	}
}

func TestRestoreIntoAUsedStoreIsRefused(t *testing.T) {
	good := written([]uint64{5, 8}, 5, 8)
	eachStore(t, func(t *testing.T, _ stores, place Options) {
		n := place.open(t)
		put(t, n, core.BucketAccounts, row("bob", "1"))
		if err := restore(t, good, place); err == nil {
			t.Error("restored beneath a node that runs")
		}
		closeNode(t, n)
		if err := restore(t, good, place); !errors.Is(err, core.ErrExists) {
			t.Errorf("restore: %v", err)
		}
		n = place.open(t)
		expect(t, n, core.BucketAccounts, map[string]string{"bob": "1"})
		closeNode(t, n)
	})
}

func TestInterruptedRestoreIsRefusedUntilItIsRepeated(t *testing.T) {
	good := written([]uint64{5, 8}, 5, 8)
	eachStore(t, func(t *testing.T, _ stores, place Options) {
		if place.Dir != "" {
			if err := os.MkdirAll(filepath.Join(place.Dir, restoringDir, jetStreamDir), 0o700); err != nil {
				t.Fatal(err)
			}
		} else {
			markRestoring(t, place.URL)
		}
		if n, err := Open(t.Context(), place); err == nil || !strings.Contains(err.Error(), "restore again") {
			t.Errorf("open: %v", err)
			closeNode(t, n)
		}
		for range 2 {
			if err := restore(t, good, place); err != nil && !errors.Is(err, core.ErrExists) {
				t.Fatal(err)
			}
		}
		n := place.open(t)
		expect(t, n, core.BucketAccounts, map[string]string{"ada": "new"})
		closeNode(t, n)
		closeNode(t, place.open(t))
	})
}

// markRestoring leaves behind what a restore does that is killed.
func markRestoring(t *testing.T, url string) {
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	cfg := logConfig(Options{}.withDefaults())
	cfg.Metadata = map[string]string{restoringMark: "unfinished"}
	if _, err := js.CreateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), subjectPrefix+"x", nil); err != nil {
		t.Fatal(err)
	}
}

func TestRestoreMindsTheSettings(t *testing.T) {
	file := written([]uint64{1, 2, 3}, 1, 3)
	dir := filepath.Join(t.TempDir(), "x")
	if err := restore(t, file, Options{Dir: dir, MaxBytes: 10}); err == nil || !strings.Contains(err.Error(), "journal.max_bytes") {
		t.Errorf("restore: %v", err)
	}
	if err := restore(t, file, Options{}); err == nil {
		t.Error("restored to nowhere")
	}
	if there(dir) {
		t.Error("a refused restore leaves a directory")
	}
}

package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// backUp returns the backup of a node.
func backUp(t testing.TB, n node, extras ...Extra) []byte {
	t.Helper()
	var file bytes.Buffer
	if err := n.(*Bus).Backup(t.Context(), &file, extras...); err != nil {
		t.Fatal(err)
	}
	return file.Bytes()
}

// restore returns what Restore said.
func restore(t testing.TB, file []byte, o Options) error {
	t.Helper()
	b, err := OpenBackup(bytes.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	o.Log = testLog(t)
	return b.Restore(t.Context(), o)
}

// eachStore tests on an embedded and on an external store; place is where a
// second, empty one may be made.
func eachStore(t *testing.T, test func(t *testing.T, s stores, place Options)) {
	t.Run("embedded", func(t *testing.T) {
		test(t, embeddedStores(t), Options{Dir: filepath.Join(t.TempDir(), "new")})
	})
	t.Run("external", func(t *testing.T) {
		test(t, externalStores(t), Options{URL: startExternal(t).url})
	})
}

func (o Options) open(t testing.TB) node {
	return natsStores(func(n *Options) { n.Dir, n.URL = o.Dir, o.URL }).open(t, small())
}

// A load on a node that goes on until stopped: records, and checkpoints in the
// way of package core.
type busyNode struct {
	node
	stop  context.CancelFunc
	wg    sync.WaitGroup
	mu    sync.Mutex // guards acked
	acked map[journal.Position]string
}

const testChunks = 5

func keepBusy(t testing.TB, n node) *busyNode {
	ctx, cancel := context.WithCancel(context.Background())
	b := &busyNode{node: n, stop: cancel, acked: map[journal.Position]string{}}
	for i := range 4 {
		b.wg.Go(func() {
			for k := 0; ctx.Err() == nil; k++ {
				rec := fmt.Sprintf("%d/%d/%s", i, k, strings.Repeat("x", k%500))
				if o := await(t, mustAppend(t, n, rec)); o.err == nil {
					b.mu.Lock()
					b.acked[o.pos] = rec
					b.mu.Unlock()
				}
			}
		})
	}
	b.churn(ctx, t, n)
	return b
}

// churn writes one checkpoint after another.
func (b *busyNode) churn(ctx context.Context, t testing.TB, n node) {
	b.wg.Go(func() {
		for g := 1; ctx.Err() == nil; g++ {
			var chunks, old []core.Row
			for i := range testChunks {
				chunks = append(chunks, row(fmt.Sprintf("c/%d/%d", g, i), strings.Repeat("c", 1000)))
				old = append(old, core.Row{Key: fmt.Sprintf("c/%d/%d", g-1, i)})
			}
			for _, rows := range [][]core.Row{chunks, {row("c", fmt.Sprint(g))}, old} {
				if err := n.Rows().Put(ctx, core.BucketNodes, rows); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		}
	})
}

func (b *busyNode) ackedNow() map[journal.Position]string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.acked)
}

func (b *busyNode) end() {
	b.stop()
	b.wg.Wait()
}

func TestBackupOfABusyNodeHoldsWhatWasAcknowledged(t *testing.T) {
	eachStore(t, func(t *testing.T, s stores, place Options) {
		n := s.open(t, small())
		f := follow(t, n, 1)
		for i := range 100 {
			await(t, mustAppend(t, n, fmt.Sprint("old ", i)))
		}
		s.remove(t, n, 40)
		put(t, n, core.BucketRetained, row("kept", "1"), row("odd \x00", ""), row("gone", "2"))
		put(t, n, core.BucketRetained, core.Row{Key: "gone"})
		put(t, n, core.BucketAccounts, row("ada", "secret"), row("\x00 a document", "hers"))
		busy := keepBusy(t, n)
		eventually(t, "some records are acknowledged", func() bool { return len(busy.ackedNow()) > 500 })
		eventually(t, "a checkpoint is written", func() bool { return load(t, n, core.BucketNodes)["c"] != "" })
		acked := busy.ackedNow()
		file := backUp(t, n, Extra{"name", []byte("bytes")})
		busy.end()
		original := f.records
		f.stop()
		closeNode(t, n)

		info, err := Inspect(bytes.NewReader(file))
		if err != nil || info.First != 41 || int(info.Last)-40 != info.Frames || info.Bytes != int64(len(file)) ||
			len(info.Extras) != 1 || info.Rows[core.BucketAccounts] != 2 || info.Documents != 1 {
			t.Fatalf("%+v, %v", info, err)
		}
		if err := restore(t, file, place); err != nil {
			t.Fatal(err)
		}
		n = place.open(t)
		expect(t, n, core.BucketAccounts, map[string]string{"ada": "secret", "\x00 a document": "hers"})
		expect(t, n, core.BucketRetained, map[string]string{"kept": "1", "odd \x00": ""})
		checkpoints := load(t, n, core.BucketNodes)
		for i := range testChunks {
			if _, ok := checkpoints[fmt.Sprintf("c/%s/%d", checkpoints["c"], i)]; !ok {
				t.Errorf("checkpoint %s lacks chunk %d", checkpoints["c"], i)
			}
		}
		f = follow(t, n, 1)
		f.catchUp()
		for pos, rec := range acked {
			if f.records[pos] != rec {
				t.Fatalf("at %s is %.20q, %.20q was acknowledged there", pos, f.records[pos], rec)
			}
		}
		for pos, rec := range f.records {
			if original[pos] != rec || pos.Seq() <= 40 {
				t.Fatalf("at %s is %.20q, it was %.20q", pos, rec, original[pos])
			}
		}
		if o := await(t, mustAppend(t, n, "new")); o.err != nil || o.pos.Seq() != info.Last+1 {
			t.Errorf("the next record: %v", o)
		}
		f.stop()
		closeNode(t, n)
	})
}

func TestDamagedBackupsAreRefused(t *testing.T) {
	good := written([]uint64{5, 8}, 5, 8)
	if _, err := Inspect(bytes.NewReader(good)); err != nil {
		t.Fatal(err)
	}
	for n := range good {
		if _, err := OpenBackup(bytes.NewReader(good[:n])); !errors.Is(err, ErrBackup) {
			t.Fatalf("cut to %d bytes: %v", n, err)
		}
		bad := bytes.Clone(good)
		bad[n] ^= 0x10
		if _, err := OpenBackup(bytes.NewReader(bad)); err == nil {
			t.Fatalf("byte %d is damaged: no error", n)
		}
	}
	if _, err := OpenBackup(bytes.NewReader(append(bytes.Clone(good), 0))); !errors.Is(err, ErrBackup) {
		t.Errorf("with a tail: %v", err)
	}
	next := bytes.Clone(good)
	next[len(backupMagic)]++
	if _, err := OpenBackup(bytes.NewReader(next)); err == nil || !strings.Contains(err.Error(), "format 2") {
		t.Errorf("another version: %v", err)
	}
	if _, err := Inspect(io.MultiReader(bytes.NewReader(good[:20]), failing{})); !errors.Is(err, errTest) || errors.Is(err, ErrBackup) {
		t.Errorf("unreadable: %v", err)
	}
}

type failing struct{}

func (failing) Read([]byte) (int, error)  { return 0, errTest }
func (failing) Write([]byte) (int, error) { return 0, errTest }

func TestBackupIsNotOvertakenByRetention(t *testing.T) {
	s := embeddedStores(t)
	n := s.open(t, small())
	f := follow(t, n, 1)
	for i := range 20 {
		await(t, mustAppend(t, n, fmt.Sprint(i)))
	}
	f.stop()
	log := n.(*Bus).log
	if err := log.stream.DeleteMsg(t.Context(), 10); err != nil {
		t.Fatal(err)
	}
	s.remove(t, n, 5)
	frame := func(seq uint64) laidFrame { return laidFrame{seq, subjectPrefix + "x", nil} }
	tests := []struct {
		name      string
		want, got uint64
		started   bool
		err       error
	}{
		{"the next", 7, 7, true, nil},
		{"a hole that was there", 10, 11, true, nil},
		{"overtaken", 5, 6, true, errOvertaken},
		{"shortened at the front", 3, 6, false, nil},
		{"all that was there with the rows is gone", 3, 17, false, errOvertaken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c := copying{log: log, out: newBackupWriter(io.Discard, time.Now(), 0), want: tt.want, last: 20, started: tt.started}
			if err := c.take(t.Context(), frame(tt.got), 15); !errors.Is(err, tt.err) {
				t.Errorf("take: %v, want %v", err, tt.err)
			}
		})
	}
	closeNode(t, n)
}

// closing closes the node at the first write.
type closing struct {
	once  sync.Once
	close func()
}

func (c *closing) Write(p []byte) (int, error) {
	c.once.Do(c.close)
	return len(p), nil
}

func TestBackupEndsWithItsNode(t *testing.T) {
	n := embeddedAt(t, t.TempDir()).(*Bus)
	var rows []core.Row
	for i := range 2000 {
		rows = append(rows, row(fmt.Sprint(i), strings.Repeat("x", 1000)))
	}
	put(t, n, core.BucketNodes, rows...)
	if err := n.Backup(t.Context(), failing{}); !errors.Is(err, errTest) {
		t.Errorf("a file that cannot be written: %v", err)
	}
	err := n.Backup(t.Context(), &closing{close: func() { closeNode(t, n) }})
	if !errors.Is(err, core.ErrStopped) {
		t.Errorf("the node stops meanwhile: %v", err)
	}
	if err := n.Backup(t.Context(), io.Discard); !errors.Is(err, core.ErrStopped) {
		t.Errorf("the node has stopped: %v", err)
	}
}

func FuzzInspect(f *testing.F) {
	f.Add(written(nil, 1, 0))
	f.Add(written([]uint64{5, 8}, 5, 8))
	f.Add([]byte(backupMagic + "\x01\x00\x00E\xff\xff\xff\xff\x03"))
	f.Fuzz(func(t *testing.T, file []byte) {
		info, err := Inspect(bytes.NewReader(file))
		if err == nil && (info.Bytes != int64(len(file)) || info.First > info.Last+1) {
			t.Errorf("accepted %+v", info)
		}
	})
}

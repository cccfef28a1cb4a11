package bus

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"pushhub/core"
	"pushhub/core/journal"
)

// BenchmarkAppend is parallel producers of records of 200 bytes; each waits for
// its own record, or keeps 100 under way.
func BenchmarkAppend(b *testing.B) {
	for _, c := range []struct {
		name string
		open func(b *testing.B) node
	}{
		{"memory", func(*testing.B) node { return NewMemory() }},
		{"default", func(b *testing.B) node { return benchNode(b, Options{}) }},
		{"always", func(b *testing.B) node { return benchNode(b, Options{SyncAlways: true}) }},
	} {
		for _, load := range []struct{ producers, window int }{{1, 1}, {64, 1}, {16, 100}, {16, 1000}} {
			b.Run(fmt.Sprintf("%s/producers=%d/window=%d", c.name, load.producers, load.window), func(b *testing.B) {
				n := c.open(b)
				defer closeNode(b, n)
				benchAppend(b, n, load.producers, load.window)
			})
		}
	}
}

func benchNode(b *testing.B, o Options) node {
	o.Dir = b.TempDir()
	n, err := Open(b.Context(), o)
	if err != nil {
		b.Fatal(err)
	}
	return n
}

func benchAppend(b *testing.B, n node, producers, window int) {
	b.ReportAllocs()
	ctx, cancel := context.WithCancel(b.Context())
	ended := make(chan error, 1)
	go func() { ended <- n.Journal().Follow(ctx, 1, applyFunc(ignore)) }()
	lat := make([][]time.Duration, producers)
	b.ResetTimer()
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			rec := make([]byte, 200)
			slots := make(chan struct{}, window)
			for range b.N / producers {
				slots <- struct{}{}
				start := time.Now()
				err := n.Journal().Append(rec, func(_ journal.Position, err error) {
					if err != nil {
						b.Error(err)
					}
					lat[p] = append(lat[p], time.Since(start))
					<-slots
				})
				if err != nil {
					b.Error(err)
				}
			}
			for range window {
				slots <- struct{}{}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	all := slices.Sorted(slices.Values(slices.Concat(lat...)))
	if len(all) > 0 {
		b.ReportMetric(float64(len(all))/b.Elapsed().Seconds(), "records/s")
		b.ReportMetric(float64(all[len(all)/2].Microseconds()), "p50-us")
		b.ReportMetric(float64(all[len(all)*99/100].Microseconds()), "p99-us")
	}
	cancel()
	if err := <-ended; err != nil {
		b.Error(err)
	}
}

// BenchmarkPut is one writer of batches of rows of 200 bytes.
func BenchmarkPut(b *testing.B) {
	for _, always := range []bool{false, true} {
		for _, size := range []int{1, 10, 100, 1000} {
			b.Run(fmt.Sprintf("always=%v/rows=%d", always, size), func(b *testing.B) {
				n := benchNode(b, Options{SyncAlways: always})
				defer closeNode(b, n)
				rows := make([]core.Row, size)
				k := 0
				for b.Loop() {
					for i := range rows {
						k++
						rows[i] = core.Row{Key: fmt.Sprint(k % 100_000), Value: make([]byte, 200)}
					}
					if err := n.Rows().Put(b.Context(), core.BucketRetained, rows); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(size)*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
			})
		}
	}
}

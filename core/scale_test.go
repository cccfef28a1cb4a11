package core_test

import (
	"context"
	"encoding/binary"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"pushhub/bus"
	"pushhub/core"
)

// scaleSessions is how many stored sessions BenchmarkSessions makes; a million
// take some minutes and 2 GiB of memory.
var scaleSessions = flag.Int("scale.sessions", 100_000, "stored sessions of BenchmarkSessions")

// A scaleHub is a router on the embedded store, every append of it synced.
type scaleHub struct {
	b      *testing.B
	dir    string
	bus    *bus.Bus
	router *core.Router
	cancel context.CancelFunc
	ended  chan error // sent once, by the goroutine of Run; capacity 1
}

// startScale opens what dir holds; it returns when the router is ready.
func startScale(b *testing.B, dir string) *scaleHub {
	b.Helper()
	store, err := bus.Open(b.Context(), bus.Options{Dir: dir, SyncAlways: true})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	h := &scaleHub{b: b, dir: dir, bus: store, cancel: cancel, ended: make(chan error, 1)}
	h.router = core.NewRouter(core.Options{Journal: store.Journal(), Rows: store.Rows()})
	ready := make(chan struct{}) // closed by the router when it is ready
	go func() { h.ended <- h.router.Run(ctx, func() { close(ready) }) }()
	select {
	case <-ready:
	case err := <-h.ended:
		b.Fatal(err)
	}
	return h
}

// stop is a clean stop; it returns how long the router took to write its checkpoint.
func (h *scaleHub) stop() time.Duration {
	h.b.Helper()
	start := time.Now()
	h.cancel()
	if err := <-h.ended; err != nil {
		h.b.Fatal(err)
	}
	took := time.Since(start)
	if err := h.bus.Close(context.Background()); err != nil {
		h.b.Fatal(err)
	}
	return took
}

// attach attaches devices to the addresses of sessions from..to, durable ones.
func (h *scaleHub) attach(from, to int, address func(int) core.Address, device func(int) core.Device) []*core.Attachment {
	atts := make([]*core.Attachment, to-from)
	var wg sync.WaitGroup
	var batch core.Batch
	wg.Add(len(atts))
	for i := range atts {
		req := core.Attach{Address: address(from + i), Device: device(from + i), Protocol: "mqtt", Expiry: 24 * time.Hour}
		h.router.Attach(&batch, req, func(_ *core.Batch, att *core.Attachment, _ bool, err error) {
			if err != nil {
				h.b.Error(err)
			}
			atts[i] = att
			wg.Done()
		})
	}
	wg.Wait()
	if h.b.Failed() {
		h.b.FailNow()
	}
	return atts
}

// populate makes n stored sessions, each with one QoS 1 filter, and leaves them offline.
func (h *scaleHub) populate(n int, address func(int) core.Address, filter func(int) string) {
	const batchSize, workers = 500, 8
	starts := make(chan int) // sent and closed here
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for from := range starts {
				h.populateSome(from, min(from+batchSize, n), address, filter)
			}
		})
	}
	for from := 0; from < n; from += batchSize {
		starts <- from
	}
	close(starts)
	wg.Wait()
}

func (h *scaleHub) populateSome(from, to int, address func(int) core.Address, filter func(int) string) {
	var batch core.Batch
	atts := h.attach(from, to, address, func(int) core.Device { return &sink{} })
	var wg sync.WaitGroup
	wg.Add(len(atts))
	for i, att := range atts {
		subs := []core.Subscription{{Filter: filter(from + i), QoS: 1}}
		att.Subscribe(&batch, subs, func(_ *core.Batch, errs []error) {
			if errs[0] != nil {
				h.b.Error(errs[0])
			}
			wg.Done()
		})
	}
	wg.Wait()
	for _, att := range atts {
		att.Detach(&batch, true)
	}
}

// publisher sends QoS 1 messages and waits for what it sent.
type scalePublisher struct {
	sink
	att    *core.Attachment
	batch  core.Batch
	stored sync.WaitGroup // counts what is pending
	b      *testing.B
}

func (p *scalePublisher) Stored(_ *core.Batch, _ uint64, err error) {
	if err != nil {
		p.b.Error(err)
	}
	p.stored.Done()
}

func (h *scaleHub) publisher() *scalePublisher {
	p := &scalePublisher{b: h.b}
	got := make(chan struct{}) // closed when the attachment is there
	req := core.Attach{Address: core.Address{Account: core.Anonymous, Resource: "publisher"}, Device: p, Clean: true}
	h.router.Attach(&p.batch, req, func(_ *core.Batch, att *core.Attachment, _ bool, err error) {
		if err != nil {
			h.b.Error(err)
		}
		p.att = att
		close(got)
	})
	<-got
	return p
}

func (p *scalePublisher) publish(topic string, payload []byte) {
	rt, err := p.att.Route([]byte(topic))
	if err != nil {
		p.b.Fatal(err)
	}
	p.stored.Add(1)
	pending, err := p.att.Publish(&p.batch, rt, &core.Message{QoS: 1, Payload: payload}, 0, 1)
	if err != nil || !pending {
		p.b.Fatalf("pending %v, error %v", pending, err)
	}
}

// ownAddress and ownFilter are those of session i among up to 100 million.
func ownAddress(i int) core.Address {
	return core.Address{Account: fmt.Sprintf("account-%08d", i), Resource: fmt.Sprintf("device--%08d", i)}
}

func ownFilter(i int) string { return fmt.Sprintf("fleet/%08d/orders/#", i) }

// processCPU is the CPU time that this process has used.
func processCPU() time.Duration {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// heap is the memory that is in use.
func heap() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools hold goes at the second
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// diskBytes is the size of all files below dir whose path holds part.
func diskBytes(b *testing.B, dir, part string) (sum int64) {
	b.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		if ok, _ := filepath.Match(part, filepath.Base(filepath.Dir(filepath.Dir(path)))); part != "" && !ok {
			return nil
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return nil // a file that went meanwhile counts nothing
	})
	if err != nil {
		b.Fatal(err)
	}
	return sum
}

// BenchmarkBroadcastOffline is one QoS 1 message that 100,000 stored sessions
// are owed: from Publish until it is stored, and the CPU time of the process.
func BenchmarkBroadcastOffline(b *testing.B) {
	const sessions = 100_000
	h := startScale(b, b.TempDir())
	defer h.stop()
	h.populate(sessions, ownAddress, func(int) string { return "fleet/all/news" })
	p := h.publisher()
	payload := make([]byte, 100)
	b.ReportAllocs()
	runtime.GC()
	cpu := processCPU()
	for b.Loop() {
		p.publish("fleet/all/news", payload)
		p.stored.Wait()
	}
	cpu = processCPU() - cpu
	b.ReportMetric(float64(cpu.Microseconds())/float64(b.N), "cpu-us/broadcast")
	b.ReportMetric(float64(sessions), "sessions")
}

// A drain is a device that acknowledges at once what it is given.
type drain struct {
	att     *core.Attachment
	left    *sync.WaitGroup // counts deliveries that are not acknowledged
	wake    chan struct{}   // sent by Flush, closed at the end; capacity 1
	mu      sync.Mutex      // guards packets and touched
	packets []uint16
	touched bool
}

func (d *drain) Deliver(b *core.Batch, x core.Delivery) core.Outcome {
	d.mu.Lock()
	d.packets = append(d.packets, x.Packet)
	if !d.touched {
		d.touched = true
		b.Touch(d)
	}
	d.mu.Unlock()
	return core.Queued
}

func (d *drain) Flush() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

func (*drain) Stored(*core.Batch, uint64, error) {}
func (*drain) Notice(*core.Batch, core.Notice)   {}
func (*drain) Close(*core.Batch, error)          {}

// acknowledge runs until wake is closed.
func (d *drain) acknowledge() {
	var batch core.Batch
	var packets []uint16
	for range d.wake {
		d.mu.Lock()
		packets, d.packets = d.packets, packets[:0]
		d.touched = false
		d.mu.Unlock()
		for _, id := range packets {
			if d.att.Ack(&batch, id) == nil {
				d.left.Done()
			}
		}
		batch.Flush()
	}
}

const (
	offlineSessions = 200
	offlineMessages = 100 // each
)

// fillOffline stores messages for sessions that are away, and says how fast.
func (h *scaleHub) fillOffline() {
	p := h.publisher()
	payload := make([]byte, 100)
	disk, start, cpu := diskBytes(h.b, h.dir, ""), time.Now(), processCPU()
	for n := range offlineMessages {
		binary.BigEndian.PutUint64(payload, uint64(n))
		for i := range offlineSessions {
			p.publish(fmt.Sprintf("fleet/%08d/orders/new", i), payload)
		}
	}
	p.stored.Wait()
	const all = offlineSessions * offlineMessages
	cpu = processCPU() - cpu
	h.b.ReportMetric(all/time.Since(start).Seconds(), "stored/s")
	h.b.ReportMetric(all/cpu.Seconds(), "stored/cpu-s")
	h.b.ReportMetric(float64(diskBytes(h.b, h.dir, "")-disk)/all, "disk-B/message")
}

// drainOffline brings all the sessions back and waits until they have everything.
func (h *scaleHub) drainOffline() (took, cpu time.Duration) {
	var left, ackers sync.WaitGroup
	left.Add(offlineSessions * offlineMessages)
	devices := make([]*drain, offlineSessions)
	for i := range devices {
		devices[i] = &drain{left: &left, wake: make(chan struct{}, 1)}
	}
	runtime.GC()
	start, before := time.Now(), processCPU()
	atts := h.attach(0, offlineSessions, ownAddress, func(i int) core.Device { return devices[i] })
	for i, d := range devices {
		d.att = atts[i]
		ackers.Go(d.acknowledge)
	}
	left.Wait()
	took, cpu = time.Since(start), processCPU()-before
	for i, d := range devices {
		atts[i].Detach(&core.Batch{}, true)
		close(d.wake)
	}
	ackers.Wait()
	return took, cpu
}

// BenchmarkOffline is 200 sessions that are away while each is sent 100 messages
// on a topic of its own, and that then come back: warm with the frames in
// memory, cold after a restart.
func BenchmarkOffline(b *testing.B) {
	for _, restart := range []bool{false, true} {
		b.Run(map[bool]string{false: "warm", true: "cold"}[restart], func(b *testing.B) {
			var took, cpu time.Duration
			h := startScale(b, b.TempDir())
			h.populate(offlineSessions, ownAddress, ownFilter)
			for range b.N {
				h.fillOffline()
				if restart {
					h.stop()
					h = startScale(b, h.dir)
				}
				t, c := h.drainOffline()
				took, cpu = took+t, cpu+c
			}
			h.stop()
			all := float64(b.N) * offlineSessions * offlineMessages
			b.ReportMetric(all/took.Seconds(), "drained/s")
			b.ReportMetric(all/cpu.Seconds(), "drained/cpu-s")
		})
	}
}

// BenchmarkSessions is -scale.sessions stored sessions that are away, each with
// a filter of its own: what they cost in memory, and how long a checkpoint and a
// start from it take.
func BenchmarkSessions(b *testing.B) {
	n := *scaleSessions
	for range b.N {
		dir := b.TempDir()
		h := startScale(b, dir)
		before, start := heap(), time.Now()
		h.populate(n, ownAddress, ownFilter)
		b.ReportMetric(float64(n)/time.Since(start).Seconds(), "made/s")
		b.ReportMetric(float64(heap()-before)/float64(n), "heap-B/session")
		b.ReportMetric(h.stop().Seconds(), "checkpoint-s")
		b.ReportMetric(float64(diskBytes(b, dir, "KV_PH_NODE"))/float64(n), "checkpoint-B/session")
		h = nil //nolint:wastedassign // the memory of the first hub must be free before the second is measured
		before = heap()
		cpu := processCPU()
		start = time.Now()
		h = startScale(b, dir)
		b.ReportMetric(time.Since(start).Seconds(), "start-s")
		b.ReportMetric((processCPU() - cpu).Seconds(), "start-cpu-s")
		b.ReportMetric(float64(heap()-before)/float64(n), "restored-B/session")
		h.stop()
	}
}

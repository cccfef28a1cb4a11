package core_test

import (
	"fmt"
	"testing"

	"pushhub/bus"
	"pushhub/core"
)

// sink takes every delivery and keeps none.
type sink struct{ dirty bool }

func (s *sink) Deliver(b *core.Batch, _ core.Delivery) core.Outcome {
	if !s.dirty {
		s.dirty = true
		b.Touch(s)
	}
	return core.Queued
}
func (s *sink) Stored(*core.Batch, uint64, error) {}
func (s *sink) Notice(*core.Batch, core.Notice)   {}
func (s *sink) Close(*core.Batch, error)          {}
func (s *sink) Flush()                            { s.dirty = false }

// BenchmarkPublishQoS0 is the path from a parsed message to the out-queues of
// its subscribers; it must not allocate.
func BenchmarkPublishQoS0(b *testing.B) {
	for _, subscribers := range []int{1, 100} {
		b.Run(fmt.Sprint(subscribers, "subscribers"), func(b *testing.B) {
			r := benchRouter(b)
			for i := range subscribers {
				att := attachSink(b, r, fmt.Sprint("sub", i))
				subscribeTo(b, att, "plant/+/temp")
			}
			p := attachSink(b, r, "publisher")
			topic, m := []byte("plant/7/temp"), &core.Message{}
			payload := make([]byte, 100)
			var batch core.Batch
			b.ReportAllocs()
			for b.Loop() {
				for range 64 {
					rt, err := p.Route(topic)
					if err != nil {
						b.Fatal(err)
					}
					m.Reset()
					m.Payload = payload
					if _, err := p.Publish(&batch, rt, m, 0, 0); err != nil {
						b.Fatal(err)
					}
				}
				batch.Flush()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/message")
		})
	}
}

func benchRouter(b *testing.B) *core.Router {
	b.Helper()
	store := bus.NewMemory()
	r := core.NewRouter(core.Options{Journal: store.Journal(), Rows: store.Rows()})
	ready, ended := make(chan struct{}), make(chan error, 1)
	go func() { ended <- r.Run(b.Context(), func() { close(ready) }) }()
	<-ready
	b.Cleanup(func() {
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return r
}

func attachSink(b *testing.B, r *core.Router, id string) *core.Attachment {
	b.Helper()
	var batch core.Batch
	got := make(chan *core.Attachment, 1)
	r.Attach(&batch, core.Attach{Address: core.Address{Account: core.Anonymous, Resource: id}, Device: &sink{}, Clean: true},
		func(_ *core.Batch, att *core.Attachment, _ bool, err error) {
			if err != nil {
				b.Error(err)
			}
			got <- att
		})
	return <-got
}

func subscribeTo(b *testing.B, att *core.Attachment, filter string) {
	b.Helper()
	var batch core.Batch
	done := make(chan struct{})
	att.Subscribe(&batch, []core.Subscription{{Filter: filter}}, func(*core.Batch, []error) { close(done) })
	<-done
}

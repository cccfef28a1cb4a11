package core

import (
	"context"
	"runtime/metrics"
	"strconv"
	"time"
)

// SysOptions say what the $SYS tree shows.
type SysOptions struct {
	Every   time.Duration // how often it is brought up to date; 0: there is no tree
	Version string
	Built   string // when the binary was made
	Fronts  []Meter
}

// RunSys keeps the $SYS tree until ctx ends, which is the only way out (nil). The
// tree is the hub's own state: retained in memory, written to no store, delivered
// at QoS 0, and only what changed.
func (r *Router) RunSys(ctx context.Context, opt SysOptions) error {
	if opt.Every <= 0 {
		return nil
	}
	s := newSysTree(r, opt, time.Now())
	t := time.NewTicker(opt.Every)
	defer t.Stop()
	for {
		s.update(time.Now())
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// A sysTree is what is sysRow now. It belongs to one goroutine.
type sysTree struct {
	r     *Router
	opt   SysOptions
	begun time.Time
	rows  []*sysRow
	loads []load // as sysLoads
	sysSample
}

// sysSample is what the values are made of.
type sysSample struct {
	at      time.Time
	traffic Traffic
	census  census
	most    uint64 // clients at once
	heap    uint64
}

// A sysRow is one topic and what it shows.
type sysRow struct {
	route Route
	value func(*sysTree) string
	last  string
}

func newSysTree(r *Router, opt SysOptions, now time.Time) *sysTree {
	s := &sysTree{r: r, opt: opt, begun: now, loads: make([]load, len(sysLoads))}
	s.at = now
	for _, row := range sysValues {
		s.add(row.topic, row.value)
	}
	for i, row := range sysLoads {
		for j, span := range loadSpans {
			s.add("load/"+row.topic+"/"+span.name, func(s *sysTree) string {
				return strconv.FormatFloat(s.loads[i].avg[j], 'f', 2, 64)
			})
		}
	}
	return s
}

func (s *sysTree) add(topic string, value func(*sysTree) string) {
	s.rows = append(s.rows, &sysRow{route: Route{Topic: sysPrefix + topic}, value: value})
}

// update shows what has changed since the last time.
func (s *sysTree) update(now time.Time) {
	elapsed := now.Sub(s.at)
	s.at = now
	s.traffic, s.census, s.heap = sum(s.opt.Fronts), s.r.count(), heapBytes()
	s.most = max(s.most, s.census.connected)
	for i, row := range sysLoads {
		s.loads[i].sample(row.counter(s), elapsed)
	}
	var b Batch
	for _, row := range s.rows {
		if v := row.value(s); v != row.last {
			row.last = v
			s.r.showSys(&b, &row.route, v, now)
		}
	}
	b.Flush()
}

// showSys retains a value and delivers it. In this order: whoever subscribes
// meanwhile gets it twice rather than never.
func (r *Router) showSys(b *Batch, rt *Route, value string, now time.Time) {
	m := &Message{Topic: rt.Topic, Payload: []byte(value), Retain: true, UTF8: true, Time: now.UnixMilli()}
	r.retainOwn(rt.Topic, m)
	r.compute(rt)
	r.deliverOnline(b, rt, m)
}

// heapBytes is the memory of live objects, and of dead ones not swept yet.
func heapBytes() uint64 {
	s := [1]metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	metrics.Read(s[:])
	return s[0].Value.Uint64()
}

package faults

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"time"
)

// A Line is the books of one kind of sending.
type Line struct {
	Kind                 Kind
	Sent, Acked, Refused int
	Due                  int // deliveries that entitled receivers must have
	Received             int // of those and of others that were sent
	Again                int // deliveries after the first
}

// A Report is what a run came to.
type Report struct {
	Seed                             uint64
	Kills                            int
	Loaded                           time.Duration // under load, the hub's down times included
	Up                               time.Duration // of that, the hub running
	Lines                            []Line
	Lost, Doubled, Reordered, Broken int
	RestartP50, RestartMax           time.Duration
	Details                          string // of the violations, with the histories of who is concerned
	Histories                        string // of everybody
}

// Failed reports whether the hub broke a promise.
func (r *Report) Failed() bool { return r.Lost+r.Doubled+r.Reordered+r.Broken > 0 }

func (r *rig) report() *Report {
	rep := &Report{
		Seed: r.opt.Seed, Kills: r.kills, Loaded: r.loaded, Up: r.up, Lines: make([]Line, kinds),
		Lost: r.l.count(lost), Doubled: r.l.count(doubled), Reordered: r.l.count(reordered), Broken: r.l.count(broken),
	}
	for k := range rep.Lines {
		rep.Lines[k].Kind = Kind(k)
	}
	for _, s := range r.l.streams {
		sent, acked, refused := s.totals()
		line := &rep.Lines[s.kind]
		line.Sent, line.Acked, line.Refused = line.Sent+sent, line.Acked+acked, line.Refused+refused
	}
	for _, in := range r.cast.inboxes {
		for _, t := range in.tallies {
			line := &rep.Lines[t.stream.kind]
			_, acked, _ := t.stream.totals()
			line.Due, line.Received, line.Again = line.Due+acked, line.Received+t.got, line.Again+t.twice
		}
	}
	if n := len(r.restart); n > 0 {
		sorted := slices.Sorted(slices.Values(r.restart))
		rep.RestartP50, rep.RestartMax = sorted[n/2], sorted[n-1]
	}
	rep.Details = r.details()
	var b bytes.Buffer
	for _, m := range r.cast.members {
		m.link.who.dump(&b)
	}
	rep.Histories = b.String()
	return rep
}

// Acked is all messages that were acknowledged.
func (r *Report) Acked() (n int) {
	for _, l := range r.Lines {
		n += l.Acked
	}
	return n
}

// String is the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d kills in %v of load, seed %d\n", r.Kills, r.Loaded.Round(time.Millisecond), r.Seed)
	fmt.Fprintf(&b, "acknowledged a second: %.0f, %.0f while the hub was up\n",
		float64(r.Acked())/r.Loaded.Seconds(), float64(r.Acked())/r.Up.Seconds())
	fmt.Fprintf(&b, "from restart to ready: p50 %v, max %v\n", r.RestartP50.Round(time.Millisecond), r.RestartMax.Round(time.Millisecond))
	fmt.Fprintf(&b, "%-17s %9s %9s %8s %11s %11s %10s\n", "kind", "sent", "acked", "refused", "due", "received", "again")
	for _, l := range r.Lines {
		if l.Sent == 0 {
			fmt.Fprintf(&b, "%-17s %9s\n", l.Kind, "left out")
			continue
		}
		fmt.Fprintf(&b, "%-17s %9d %9d %8d %11d %11d %10d\n", l.Kind, l.Sent, l.Acked, l.Refused, l.Due, l.Received, l.Again)
	}
	fmt.Fprintf(&b, "acked-lost %d, duplicated at QoS 2 %d, reordered %d, otherwise broken %d", r.Lost, r.Doubled, r.Reordered, r.Broken)
	return b.String()
}

// details describes the violations, and what happened to whom.
func (r *rig) details() string {
	var b bytes.Buffer
	concerned := map[*history]bool{}
	var order []*history
	r.l.mu.Lock()
	for _, v := range r.l.violations {
		fmt.Fprintf(&b, "%s: %s\n", strings.ToUpper(v.kind.String()), v.what)
		for _, h := range []*history{v.who, v.also} {
			if h != nil && !concerned[h] {
				concerned[h] = true
				order = append(order, h)
			}
		}
	}
	for k, n := range r.l.dropped {
		if n > 0 {
			fmt.Fprintf(&b, "and %d more: %s\n", n, violationKind(k))
		}
	}
	if len(order) > 0 {
		fmt.Fprintf(&b, "== faults\n")
		for _, f := range r.l.faults {
			fmt.Fprintf(&b, "%9.3f %s\n", f.at.Seconds(), f.what)
		}
	}
	r.l.mu.Unlock()
	for _, h := range order {
		h.dump(&b)
	}
	return b.String()
}

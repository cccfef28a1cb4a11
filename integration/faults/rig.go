package faults

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"time"
)

// Options of a run.
type Options struct {
	Binary string        // of the hub
	Dir    string        // for its log and data; it must be empty
	Seed   uint64        // decides the faults
	Rounds int           // of load that end with kill -9; 0: as many as fit into For
	For    time.Duration // no new round begins after it; 0: no limit
	Rate   float64       // messages a second that the senders aim at together
	Disk   *Disk         // that Dir is on; nil: it is never made full
	Tame   bool          // only kills and resets: what the check of the rig itself needs
	Log    func(format string, args ...any)
}

// A rig is a run under way.
type rig struct {
	opt  Options
	l    *ledger
	hub  *Hub
	cast *cast
	rng  *rand.Rand

	devices sync.WaitGroup
	restart []time.Duration // from a restart to the ready line
	kills   int
	loaded  time.Duration // under load, faults included
	up      time.Duration // of that, with the hub running and not frozen
}

// Run drives a hub through its rounds and returns the books. An error means that
// the run itself could not be carried through.
func Run(ctx context.Context, opt Options) (*Report, error) {
	data := opt.Dir
	if opt.Disk != nil {
		data = opt.Disk.Path
	}
	hub, err := NewHub(opt.Binary, opt.Dir, data+"/data")
	if err != nil {
		return nil, err
	}
	defer hub.Close()
	r := &rig{opt: opt, l: newLedger(), hub: hub}
	if err := r.begin(); err != nil {
		return nil, err
	}
	defer r.dismiss()
	if err := r.rounds(ctx); err != nil {
		return nil, err
	}
	if err := r.conclude(ctx); err != nil {
		return nil, err
	}
	return r.report(), nil
}

// begin starts the hub and the devices; it returns when all have subscribed.
func (r *rig) begin() error {
	if _, err := r.hub.Start(); err != nil {
		return err
	}
	for _, name := range people {
		if err := r.hub.AddUser(name); err != nil {
			return err
		}
	}
	managed, err := managedHub(r.hub.XMPP)
	if err != nil {
		return fmt.Errorf("asking the hub for its features: %w", err)
	}
	if !managed {
		r.opt.Log("LEFT OUT: the hub does not offer XEP-0198 (%s): no XMPP message senders, no XMPP receivers", nsSM)
	}
	r.cast = &cast{
		l: r.l, hub: r.hub, seed: r.opt.Seed, managed: managed,
		mqtt: func() string { return r.hub.MQTT }, xmpp: func() string { return r.hub.XMPP },
	}
	r.rng = r.cast.rng("rounds")
	r.cast.assemble(r.opt.Rate)
	for _, m := range r.cast.members {
		if _, sends := m.device.(sender); !sends {
			r.devices.Go(m.run)
		}
	}
	limit := time.After(Patience)
	for _, ready := range r.cast.ready {
		select {
		case <-ready:
		case <-limit:
			r.dismiss()
			return errors.New("not every receiver could subscribe: " + r.ailing())
		}
	}
	for _, s := range r.cast.senders {
		r.devices.Go(s.run)
	}
	return nil
}

// ailing is what the devices that are not ready ran into last.
func (r *rig) ailing() (s string) {
	for _, m := range r.cast.members {
		m.link.who.mu.Lock()
		if n := len(m.link.who.events); n > 0 {
			s += fmt.Sprintf("\n%s: %s", m.name, m.link.who.events[n-1].what)
		}
		m.link.who.mu.Unlock()
	}
	return s
}

// managedHub reports whether a hub offers XEP-0198.
func managedHub(address string) (bool, error) {
	conn, err := net.DialTimeout("tcp", address, ioTimeout)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	c := newXMPPConn(conn)
	if err := c.login(people[0]); err != nil {
		return false, err
	}
	return c.managed(), nil
}

// dismiss ends all devices.
func (r *rig) dismiss() {
	for _, m := range r.cast.members {
		m.end()
	}
	r.devices.Wait()
}

// until waits for a condition, at most for limit.
func until(ctx context.Context, limit time.Duration, condition func() bool) bool {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !condition() {
		select {
		case <-ctx.Done():
			return condition()
		case <-tick.C:
		}
	}
	return true
}

// conclude lets everything be sent and received; then kills the hub once more,
// and sends one last message on each stream, so that what the hub would repeat
// or mix up after a restart comes before it.
func (r *rig) conclude(ctx context.Context) error {
	r.opt.Log("%s: no more faults; %d messages are sent to their ends", r.l.now().Round(time.Millisecond), r.sent())
	for _, s := range r.cast.senders {
		s.quiet()
	}
	if err := r.drain(ctx, "after the load"); err != nil {
		return err
	}
	r.kill("once more, after everything was delivered")
	if err := r.revive(); err != nil {
		return err
	}
	for _, s := range r.cast.senders {
		s.epilogue()
	}
	if err := r.drain(ctx, "after the last restart"); err != nil {
		return err
	}
	for _, in := range r.cast.inboxes {
		in.settle()
	}
	r.dismiss()
	if err := r.hub.Stop(); err != nil {
		r.broke(err.Error())
	}
	for _, word := range r.hub.Trouble() {
		r.broke(fmt.Sprintf("the hub's log says %q", word))
	}
	return nil
}

func (r *rig) sent() (n int) {
	for _, s := range r.l.streams {
		sent, _, _ := s.totals()
		n += sent
	}
	return n
}

func (r *rig) broke(what string) {
	r.l.violate(violation{kind: broken, what: what})
}

// drain has everybody connect anew, and waits until all that was sent is
// acknowledged and all that was acknowledged is received, or nothing moves.
func (r *rig) drain(ctx context.Context, when string) error {
	for _, m := range r.cast.members {
		m.setOff(false)
		m.reset("everybody connects anew " + when)
	}
	begin := r.l.now()
	idle := func() bool {
		for _, s := range r.cast.senders {
			if !s.idle() {
				return false
			}
		}
		return true
	}
	if !until(ctx, Patience, idle) {
		for _, s := range r.cast.senders {
			if what := s.unfinished(); what != "" {
				r.broke(fmt.Sprintf("%s the hub does not acknowledge within %v: %s", when, Patience, what))
			}
		}
	}
	r.settled(ctx)
	r.opt.Log("drained %s in %v", when, (r.l.now() - begin).Round(time.Millisecond))
	return ctx.Err()
}

// stall is how long receivers may be sent nothing while something is missing.
const stall = 10 * time.Second

// settled waits until nothing is missing, or nothing came for a while.
func (r *rig) settled(ctx context.Context) {
	for before := -1; ; {
		missing := 0
		until(ctx, stall, func() bool {
			missing = 0
			for _, in := range r.cast.inboxes {
				missing += in.missing()
			}
			return missing == 0 || before >= 0 && missing < before
		})
		if missing == 0 || missing == before || ctx.Err() != nil {
			return
		}
		before = missing
	}
}

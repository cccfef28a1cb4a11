package faults

import (
	"context"
	"fmt"
	"math/rand/v2"
	"time"
)

// millis is a random time between two numbers of milliseconds.
func millis(rng *rand.Rand, from, to int) time.Duration {
	return time.Duration(from+rng.IntN(to-from)) * time.Millisecond
}

// chance is true with that probability.
func chance(rng *rand.Rand, p float64) bool { return rng.Float64() < p }

// sleep waits for d; false when ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// rounds runs load under faults, each round of it ending with kill -9.
func (r *rig) rounds(ctx context.Context) error {
	begin := r.l.now()
	harass, stop := context.WithCancel(ctx)
	for _, m := range r.cast.members {
		r.devices.Go(func() { r.harass(harass, m) })
	}
	var err error
	for n := 1; err == nil && ctx.Err() == nil; n++ {
		if r.opt.Rounds > 0 && n > r.opt.Rounds || r.opt.For > 0 && r.l.now()-begin > r.opt.For {
			break
		}
		if err = r.round(ctx, n); n%10 == 0 {
			r.opt.Log("%s: round %d, %d messages sent; doubled at QoS 2 %d, reordered %d, broken %d",
				r.l.now().Round(time.Millisecond), n, r.sent(), r.l.count(doubled), r.l.count(reordered), r.l.count(broken))
		}
	}
	stop()
	r.loaded = r.l.now() - begin
	return err
}

// round is one time of load, with its faults, and the kill that ends it.
func (r *rig) round(ctx context.Context, n int) error {
	load := millis(r.rng, 700, 2200)
	freeze, frozen, killed := chance(r.rng, .35), millis(r.rng, 100, 3000), chance(r.rng, .25)
	again, down := chance(r.rng, .2), chance(r.rng, .3)
	early, dark := millis(r.rng, 5, 400), millis(r.rng, 100, 800)
	r.up += load
	if !sleep(ctx, load) {
		return ctx.Err()
	}
	if !r.opt.Tame && r.opt.Disk != nil && n%8 == 2 {
		if err := r.fill(ctx); err != nil {
			return err
		}
	}
	if !r.opt.Tame && freeze {
		if err := r.freeze(ctx, frozen, killed); err != nil {
			return err
		}
	}
	r.kill(fmt.Sprintf("ends round %d", n))
	if down && !r.opt.Tame {
		sleep(ctx, dark)
	}
	if again && !r.opt.Tame {
		r.l.fault("restart, to be killed after %v", early)
		if err := r.hub.KillAfter(early); err != nil {
			return err
		}
		r.kills++
	}
	return r.revive()
}

// kill ends the hub; that it has ended by itself before is a violation.
func (r *rig) kill(why string) {
	if !r.hub.Alive() {
		r.broke(fmt.Sprintf("the hub ended by itself: %v", r.hub.err))
	}
	r.l.fault("kill -9 %s", why)
	r.hub.Kill()
	r.kills++
}

func (r *rig) revive() error {
	took, err := r.hub.Start()
	if err != nil {
		return fmt.Errorf("after kill number %d, seed %d: %w", r.kills, r.opt.Seed, err)
	}
	r.restart = append(r.restart, took)
	r.l.fault("ready again after %v", took.Round(time.Millisecond))
	return nil
}

// freeze stops the hub for a while; it may be killed in its sleep.
func (r *rig) freeze(ctx context.Context, d time.Duration, die bool) error {
	r.l.fault("SIGSTOP for %v", d)
	if err := r.hub.Freeze(); err != nil {
		return fmt.Errorf("freezing the hub: %w", err)
	}
	sleep(ctx, d)
	if die {
		return nil
	}
	r.l.fault("SIGCONT")
	if err := r.hub.Thaw(); err != nil {
		return fmt.Errorf("thawing the hub: %w", err)
	}
	after := millis(r.rng, 50, 500)
	r.up += after
	sleep(ctx, after)
	return nil
}

// refusalTime is how long publishers may go unrefused on a full disk, and
// recovery how long the hub may take to accept again once there is room.
const (
	refusalTime = 20 * time.Second
	recovery    = 30 * time.Second
)

// scarce is how many bytes are left on the disk when publishers must be refused.
const scarce = 16 << 20

// fill makes the disk nearly full until publishers are refused, then full to the
// last block, then gives the room back.
func (r *rig) fill(ctx context.Context) error {
	_, refused := r.answered()
	r.l.scarcity(true)
	defer r.l.scarcity(false)
	r.l.fault("the disk has %d MiB left", scarce>>20)
	if err := r.opt.Disk.Fill(scarce); err != nil {
		return err
	}
	begin := r.l.now()
	if !until(ctx, refusalTime, func() bool { _, now := r.answered(); return now > refused }) {
		r.broke(fmt.Sprintf("on a full disk no publisher was refused within %v", refusalTime))
	}
	r.l.fault("refusals after %v; the disk is full to its last block", (r.l.now() - begin).Round(time.Millisecond))
	if err := r.opt.Disk.Fill(0); err != nil {
		return err
	}
	sleep(ctx, millis(r.rng, 100, 1000))
	r.l.fault("the disk has room again")
	if err := r.opt.Disk.Free(); err != nil {
		return err
	}
	begin = r.l.now()
	acked, _ := r.answered()
	if !until(ctx, recovery, func() bool { now, _ := r.answered(); return now > acked+100 }) {
		r.broke(fmt.Sprintf("no recovery without a restart within %v of the disk having room again", recovery))
	}
	r.l.fault("acknowledgements again %v after there was room", (r.l.now() - begin).Round(time.Millisecond))
	r.opt.Log("%s: disk full; accepted again %v after there was room", r.l.now().Round(time.Millisecond), (r.l.now() - begin).Round(time.Millisecond))
	return nil
}

func (r *rig) answered() (acked, refused int) {
	for _, s := range r.l.streams {
		_, a, no := s.totals()
		acked, refused = acked+a, refused+no
	}
	return acked, refused
}

// harass breaks one device's connection in every way, until ctx ends.
func (r *rig) harass(ctx context.Context, m *member) {
	rng := r.cast.rng("harass " + m.name)
	for {
		switch m.when {
		case rarely:
			m.setOff(true)
			if !sleep(ctx, millis(rng, 1500, 6000)) {
				return
			}
			m.setOff(false)
			if !sleep(ctx, millis(rng, 100, 1500)) {
				return
			}
		case random:
			if !sleep(ctx, millis(rng, 200, 2500)) {
				return
			}
			m.setOff(true)
			if !sleep(ctx, millis(rng, 1, 1000)) {
				return
			}
			m.setOff(false)
		case always:
			if !sleep(ctx, millis(rng, 500, 6000)) {
				return
			}
		}
		switch p := rng.Float64(); {
		case p < .45:
			m.reset("by chance")
		case p < .70 && !r.opt.Tame:
			m.link.deafen(millis(rng, 100, 2000), chance(rng, .5))
		}
	}
}

package topic

import "hash/maphash"

// hasher hashes one level. Its seed is random, so that nobody can choose
// levels that collide.
type hasher struct {
	seed maphash.Seed
	mask uint32 // all ones, but for tests that want collisions
}

func newHasher() hasher { return hasher{seed: maphash.MakeSeed(), mask: ^uint32(0)} }

func (h hasher) hash(level string) uint32 {
	return uint32(maphash.String(h.seed, level)) & h.mask
}

// path is a name or filter on its way down a tree. It splits and hashes each
// level at most once, however many nodes ask for it, and only as deep as they
// do. It lives on the stack. Levels must be asked for in order: n only after
// n-1. Its text must be inLimits.
type path struct {
	text   string
	h      hasher
	split  int // levels whose end is known
	hashed [MaxLevels / 64]uint64
	ends   [MaxLevels]uint16
	hashes [MaxLevels]uint32
}

func (p *path) start(d int) int {
	if d == 0 {
		return 0
	}
	return int(p.ends[d-1]) + 1
}

func (p *path) end(d int) int {
	if d < p.split {
		return int(p.ends[d])
	}
	start := p.start(d)
	end := start + levelEnd(p.text[start:])
	p.ends[d] = uint16(end)
	p.split = d + 1
	return end
}

// level returns level d, counted from zero.
func (p *path) level(d int) string { return p.text[p.start(d):p.end(d)] }

// last tells whether level d is the last one.
func (p *path) last(d int) bool { return p.end(d) == len(p.text) }

// rest returns what follows level d, which must not be the last.
func (p *path) rest(d int) string { return p.text[p.end(d)+1:] }

func (p *path) hash(d int) uint32 {
	bit := uint64(1) << (d % 64)
	if p.hashed[d/64]&bit == 0 {
		p.hashed[d/64] |= bit
		p.hashes[d] = p.h.hash(p.level(d))
	}
	return p.hashes[d]
}

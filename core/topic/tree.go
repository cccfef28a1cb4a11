package topic

import "strings"

// tree holds one value a key, where a key is a name or a filter, level by
// level. A key that shares its beginning with no other is one node, however
// many levels it has: nodes come into being only where keys part, and fold
// back when they part no more. That saves most of the memory and most of the
// cache misses of a plain trie.
type tree[V any] struct {
	root branch[V]
	h    hasher
}

// node stands for one level below its parent.
//
// Without a branch it is a leaf: it holds exactly one key, which may go on
// for many levels after this one. With a branch it is inner: it holds the key
// that ends at its level, if has is set, and the branch holds the longer ones.
type node[V any] struct {
	key        string // the whole key if has is set, otherwise the level alone
	v          V
	branch     *branch[V]
	next, prev *node[V] // siblings in order of arrival
	chain      *node[V] // siblings whose level has the same hash
	start, end uint16   // the level is key[start:end]
	has        bool
}

// branch is the children of a node. Wildcards have their own place, as a
// match asks for them at each step; they are not among the siblings.
type branch[V any] struct {
	plus, hash  *node[V]
	first, last *node[V]
	byHash      map[uint32]*node[V] // nil while a walk along the siblings is as quick
	count       int                 // siblings
}

// A branch gets its table with more siblings than listMax, and loses it again
// at listMin: apart, so that one key that comes and goes does not rebuild it.
const (
	listMax = 4
	listMin = 2
)

func (n *node[V]) level() string { return n.key[n.start:n.end] }

// ends tells whether the key of a leaf ends at its level.
func (n *node[V]) ends() bool { return int(n.end) == len(n.key) }

// rest returns what follows the level of a leaf that does not end there.
func (n *node[V]) rest() string { return n.key[n.end+1:] }

// setKey lets a node stand for the level of key that starts at start.
func (n *node[V]) setKey(key string, start int) {
	end := start + levelEnd(key[start:])
	n.key, n.start, n.end = key, uint16(start), uint16(end)
}

// dropKey empties an inner node. The level is copied, lest it keep a long key
// in memory after the key is gone.
func (n *node[V]) dropKey() {
	var zero V
	n.v, n.has = zero, false
	n.setKey(strings.Clone(n.level()), 0)
}

func (n *node[V]) isHash() bool { return n.level() == "#" && n.ends() }

// find returns the child that has exactly the level d of p, no wildcard.
func (b *branch[V]) find(p *path, d int) *node[V] {
	level := p.level(d)
	if b.byHash == nil {
		for n := b.first; n != nil; n = n.next {
			if n.level() == level {
				return n
			}
		}
		return nil
	}
	for n := b.byHash[p.hash(d)]; n != nil; n = n.chain {
		if n.level() == level {
			return n
		}
	}
	return nil
}

// child is find for a key that is stored here: a wildcard finds its own place.
func (b *branch[V]) child(p *path, d int) *node[V] {
	switch level := p.level(d); {
	case level == "+":
		return b.plus
	case level == "#" && p.last(d):
		return b.hash
	}
	return b.find(p, d)
}

// only returns the single child, or nil if there is none or more than one.
func (b *branch[V]) only() *node[V] {
	switch {
	case b.count == 1 && b.plus == nil && b.hash == nil:
		return b.first
	case b.count == 0 && b.hash == nil:
		return b.plus
	case b.count == 0 && b.plus == nil:
		return b.hash
	}
	return nil
}

func (b *branch[V]) empty() bool { return b.count == 0 && b.plus == nil && b.hash == nil }

func (t *tree[V]) path(text string) path { return path{text: text, h: t.h} }

// get returns the node that holds key, or nil.
func (t *tree[V]) get(key string) *node[V] {
	p := t.path(key)
	b := &t.root
	for d := 0; ; d++ {
		n := b.child(&p, d)
		switch {
		case n == nil:
			return nil
		case n.branch == nil && n.key[n.start:] == key[p.start(d):]:
			return n
		case n.branch == nil:
			return nil
		case p.last(d) && n.has:
			return n
		case p.last(d):
			return nil
		}
		b = n.branch
	}
}

// put returns the node that holds key, and whether it is new and so waits for
// its value.
func (t *tree[V]) put(key string) (n *node[V], fresh bool) {
	p := t.path(key)
	b := &t.root
	for d := 0; ; d++ {
		start := p.start(d)
		n = b.child(&p, d)
		if n == nil {
			n = &node[V]{has: true}
			n.setKey(key, start)
			t.attach(b, n)
			return n, true
		}
		if n.branch == nil {
			if n.key[n.start:] == key[start:] {
				return n, false
			}
			t.part(n)
		}
		if p.last(d) {
			fresh = !n.has
			if fresh {
				n.setKey(key, start)
				n.has = true
			}
			return n, fresh
		}
		b = n.branch
	}
}

// part makes a leaf an inner node, its key moving one level down if it is
// longer than that.
func (t *tree[V]) part(n *node[V]) {
	n.branch = &branch[V]{}
	if n.ends() {
		return
	}
	child := &node[V]{v: n.v, has: true}
	child.setKey(n.key, int(n.end)+1)
	n.dropKey()
	t.attach(n.branch, child)
}

// fold undoes part: an inner node that leads to one leaf becomes this leaf.
func (n *node[V]) fold() {
	if n.branch.empty() {
		n.branch = nil
		return
	}
	leaf := n.branch.only()
	if n.has || leaf == nil || leaf.branch != nil {
		return
	}
	start := int(leaf.start) - 1 - len(n.level())
	n.setKey(leaf.key, start)
	n.v, n.has, n.branch = leaf.v, true, nil
}

// remove takes key out, with every node that then leads nowhere.
func (t *tree[V]) remove(key string) bool {
	p := t.path(key)
	return t.removeBelow(&t.root, &p, 0)
}

func (t *tree[V]) removeBelow(b *branch[V], p *path, d int) bool {
	n := b.child(p, d)
	if n == nil {
		return false
	}
	if n.branch == nil {
		if n.key[n.start:] != p.text[p.start(d):] {
			return false
		}
		t.detach(b, n)
		return true
	}
	if !p.last(d) {
		if !t.removeBelow(n.branch, p, d+1) {
			return false
		}
	} else {
		if !n.has {
			return false
		}
		n.dropKey()
	}
	n.fold()
	if n.branch == nil && !n.has {
		t.detach(b, n)
	}
	return true
}

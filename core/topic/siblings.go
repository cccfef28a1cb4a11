package topic

// attach makes n a child of b.
func (t *tree[V]) attach(b *branch[V], n *node[V]) {
	switch {
	case n.level() == "+":
		b.plus = n
		return
	case n.isHash():
		b.hash = n
		return
	}
	n.prev = b.last
	if b.last != nil {
		b.last.next = n
	} else {
		b.first = n
	}
	b.last = n
	b.count++
	if b.byHash != nil {
		t.enter(b, n)
		return
	}
	if b.count > listMax {
		b.byHash = make(map[uint32]*node[V], b.count)
		for s := b.first; s != nil; s = s.next {
			t.enter(b, s)
		}
	}
}

// detach undoes attach.
func (t *tree[V]) detach(b *branch[V], n *node[V]) {
	switch n {
	case b.plus:
		b.plus = nil
		return
	case b.hash:
		b.hash = nil
		return
	}
	if n.prev != nil {
		n.prev.next = n.next
	} else {
		b.first = n.next
	}
	if n.next != nil {
		n.next.prev = n.prev
	} else {
		b.last = n.prev
	}
	n.prev, n.next = nil, nil
	b.count--
	if b.byHash == nil {
		return
	}
	if b.count <= listMin {
		b.byHash = nil
		for s := b.first; s != nil; s = s.next {
			s.chain = nil // lest it keep n in memory
		}
		return
	}
	t.leave(b, n)
}

// enter puts n into the table of b.
func (t *tree[V]) enter(b *branch[V], n *node[V]) {
	h := t.h.hash(n.level())
	n.chain = b.byHash[h]
	b.byHash[h] = n
}

// leave undoes enter.
func (t *tree[V]) leave(b *branch[V], n *node[V]) {
	h := t.h.hash(n.level())
	head := b.byHash[h]
	switch {
	case head == n && n.chain == nil:
		delete(b.byHash, h)
	case head == n:
		b.byHash[h] = n.chain
	default:
		for head.chain != n {
			head = head.chain
		}
		head.chain = n.chain
	}
	n.chain = nil
}

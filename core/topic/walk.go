package topic

// walk takes one name down a tree of filters. A node stands at one depth and
// has one parent, so it is visited at most once, whatever the filters; the
// recursion is as deep as MaxLevels.
type walk[T comparable] struct {
	p       path
	dst     []T
	onlyAny bool // stop at the first match, and leave dst alone
	found   bool
}

// start descends from the root, where wildcards do not see reserved names.
func (w *walk[T]) start(root *branch[values[T]]) {
	if !isReserved(w.p.text) {
		w.descend(root, 0)
		return
	}
	if n := root.find(&w.p, 0); n != nil { // [MQTT-4.7.2-1]
		w.visit(n, 0)
	}
}

// descend goes to the children in b that match level d of the name.
func (w *walk[T]) descend(b *branch[values[T]], d int) {
	if b.hash != nil {
		w.emit(b.hash)
	}
	if b.plus != nil {
		w.visit(b.plus, d)
	}
	if b.count == 0 || w.done() {
		return
	}
	if n := b.find(&w.p, d); n != nil {
		w.visit(n, d)
	}
}

// visit collects from n, which matches level d of the name.
func (w *walk[T]) visit(n *node[values[T]], d int) {
	if w.done() {
		return
	}
	last := w.p.last(d)
	if n.branch == nil {
		if w.leafMatches(n, d, last) {
			w.emit(n)
		}
		return
	}
	if !last {
		w.descend(n.branch, d+1)
		return
	}
	if n.has {
		w.emit(n)
	}
	if n.branch.hash != nil { // '#' includes the parent level, §4.7.1.2
		w.emit(n.branch.hash)
	}
}

func (w *walk[T]) leafMatches(n *node[values[T]], d int, last bool) bool {
	switch {
	case n.ends():
		return last
	case last:
		return n.rest() == "#"
	}
	return matchLevels(n.rest(), w.p.rest(d))
}

func (w *walk[T]) emit(n *node[values[T]]) {
	w.found = true
	if !w.onlyAny {
		w.dst = n.v.appendTo(w.dst)
	}
}

func (w *walk[T]) done() bool { return w.onlyAny && w.found }

package topic

// Store holds one value a topic name, and finds them by filter without a look
// at names that the filter's literal levels exclude: this is where retained
// messages live.
//
// It keeps the names that it is given. Get, Match and Len may run side by
// side; Set and Delete must run alone.
type Store[V any] struct {
	tree  tree[V]
	names int
}

// NewStore returns an empty store.
func NewStore[V any]() *Store[V] { return &Store[V]{tree: tree[V]{h: newHasher()}} }

// Len returns the number of names.
func (s *Store[V]) Len() int { return s.names }

// Set sets the value of name. The name is assumed to have passed ValidateName;
// one beyond MaxLength or MaxLevels, or with a wildcard, is not stored.
func (s *Store[V]) Set(name string, v V) {
	if !inLimits(name) || HasWildcard(name) {
		return
	}
	n, fresh := s.tree.put(name)
	n.v = v
	if fresh {
		s.names++
	}
}

// Get returns the value of name, and whether there is one.
func (s *Store[V]) Get(name string) (V, bool) {
	if inLimits(name) {
		if n := s.tree.get(name); n != nil {
			return n.v, true
		}
	}
	var zero V
	return zero, false
}

// Delete removes name, and tells whether it was there.
func (s *Store[V]) Delete(name string) bool {
	if !inLimits(name) || !s.tree.remove(name) {
		return false
	}
	s.names--
	return true
}

// Match calls yield for each name that filter matches, until yield returns
// false. The order follows from the calls of Set and Delete alone: a name
// comes before those below it, and levels with the same parent come in the
// order in which they were first set. yield must not change the store. The
// filter is assumed to have passed ValidateFilter; one beyond MaxLength or
// MaxLevels matches nothing.
func (s *Store[V]) Match(filter string, yield func(name string, v V) bool) {
	if !inLimits(filter) {
		return
	}
	if !HasWildcard(filter) {
		if n := s.tree.get(filter); n != nil {
			yield(n.key, n.v)
		}
		return
	}
	q := query[V]{p: s.tree.path(filter), yield: yield}
	q.descend(&s.tree.root, 0)
}

// query takes one filter down a tree of names. Its methods return false when
// yield has.
type query[V any] struct {
	p     path
	yield func(name string, v V) bool
}

// descend goes to the children in b that match level d of the filter.
func (q *query[V]) descend(b *branch[V], d int) bool {
	level := q.p.level(d)
	if level != "+" && level != "#" {
		n := b.find(&q.p, d)
		return n == nil || q.visit(n, d)
	}
	for n := b.first; n != nil; n = n.next {
		if d == 0 && isReserved(n.level()) {
			continue // [MQTT-4.7.2-1]
		}
		visit := q.visit
		if level == "#" {
			visit = func(n *node[V], _ int) bool { return q.all(n) }
		}
		if !visit(n, d) {
			return false
		}
	}
	return true
}

// visit yields from n, which matches level d of the filter.
func (q *query[V]) visit(n *node[V], d int) bool {
	switch {
	case !q.p.last(d) && q.p.rest(d) == "#":
		return q.all(n) // '#' includes the parent level, §4.7.1.2
	case n.branch == nil:
		return !q.leafMatches(n, d) || q.yield(n.key, n.v)
	case q.p.last(d):
		return !n.has || q.yield(n.key, n.v)
	}
	return q.descend(n.branch, d+1)
}

func (q *query[V]) leafMatches(n *node[V], d int) bool {
	if n.ends() || q.p.last(d) {
		return n.ends() && q.p.last(d)
	}
	return matchLevels(q.p.rest(d), n.rest())
}

// all yields n and everything below it.
func (q *query[V]) all(n *node[V]) bool {
	if n.has && !q.yield(n.key, n.v) {
		return false
	}
	if n.branch == nil {
		return true
	}
	for c := n.branch.first; c != nil; c = c.next {
		if !q.all(c) {
			return false
		}
	}
	return true
}

package topic

import "strings"

// Prefixes in the prefix table are bounded, as a match hashes its name once
// for each depth in use; filters beyond go to the tree, where the length of a
// name counts once.
const (
	maxPrefixLevels = 16
	maxPrefixLength = 256
)

// Index maps filters to values, many values a filter. Filters without a
// wildcard cost one look in a hash table; those whose only wildcard is a final
// '#' cost one look for each number of levels that such filters have; the
// rest share a tree of which a match visits each node at most once.
//
// It keeps the filters that it is given. Match, Any and Len may run side by
// side; Add and Remove must run alone. T must not hold values that panic on
// comparison.
type Index[T comparable] struct {
	literal  table[T]
	prefix   table[T] // "a/b" for the filter "a/b/#"
	tree     tree[values[T]]
	depths   uint32 // bit n: the prefix table has prefixes of n levels
	perDepth [maxPrefixLevels + 1]int
	pairs    int
}

// NewIndex returns an empty index.
func NewIndex[T comparable]() *Index[T] {
	return &Index[T]{
		literal: table[T]{},
		prefix:  table[T]{},
		tree:    tree[values[T]]{h: newHasher()},
	}
}

// Len returns the number of (filter, value) pairs.
func (ix *Index[T]) Len() int { return ix.pairs }

// Add adds a pair, and tells whether it is new. The filter is assumed to have
// passed ValidateFilter; one beyond MaxLength or MaxLevels is not added.
func (ix *Index[T]) Add(filter string, v T) (added bool) {
	if !inLimits(filter) {
		return false
	}
	if prefix, levels := splitPrefix(filter); levels > 0 {
		added = ix.addPrefix(prefix, levels, v)
	} else if HasWildcard(filter) {
		added = ix.addToTree(filter, v)
	} else {
		added, _ = ix.literal.add(filter, v)
	}
	if added {
		ix.pairs++
	}
	return added
}

// Remove removes a pair, and tells whether it was there. A filter without
// values leaves nothing behind.
func (ix *Index[T]) Remove(filter string, v T) (removed bool) {
	if !inLimits(filter) {
		return false
	}
	if prefix, levels := splitPrefix(filter); levels > 0 {
		removed = ix.removePrefix(prefix, levels, v)
	} else if HasWildcard(filter) {
		removed = ix.removeFromTree(filter, v)
	} else {
		removed, _ = ix.literal.remove(filter, v)
		if removed && len(ix.literal) == 0 {
			ix.literal = table[T]{} // a map never shrinks by itself
		}
	}
	if removed {
		ix.pairs--
	}
	return removed
}

// splitPrefix returns "a/b" and 2 for "a/b/#", and no levels for filters that
// do not belong in the prefix table.
func splitPrefix(filter string) (prefix string, levels int) {
	prefix, ok := strings.CutSuffix(filter, "/#")
	if !ok || len(prefix) > maxPrefixLength || HasWildcard(prefix) {
		return "", 0
	}
	levels = strings.Count(prefix, "/") + 1
	if levels > maxPrefixLevels {
		return "", 0
	}
	return prefix, levels
}

func (ix *Index[T]) addPrefix(prefix string, levels int, v T) bool {
	added, newKey := ix.prefix.add(prefix, v)
	if newKey {
		ix.perDepth[levels]++
		ix.depths |= 1 << levels
	}
	return added
}

func (ix *Index[T]) removePrefix(prefix string, levels int, v T) bool {
	removed, gone := ix.prefix.remove(prefix, v)
	if !gone {
		return removed
	}
	ix.perDepth[levels]--
	if ix.perDepth[levels] == 0 {
		ix.depths &^= 1 << levels
	}
	if len(ix.prefix) == 0 {
		ix.prefix = table[T]{}
	}
	return true
}

func (ix *Index[T]) addToTree(filter string, v T) bool {
	n, fresh := ix.tree.put(filter)
	if fresh {
		n.v = values[T]{one: v}
		return true
	}
	return n.v.add(v)
}

func (ix *Index[T]) removeFromTree(filter string, v T) bool {
	n := ix.tree.get(filter)
	if n == nil {
		return false
	}
	removed, last := n.v.remove(v)
	if last {
		ix.tree.remove(filter)
	}
	return removed
}

// Match appends to dst every value whose filter matches name, a value once for
// each of its filters that does, in no particular order. The name is assumed
// to have passed ValidateName; one beyond MaxLength or MaxLevels matches
// nothing. It allocates only when dst has no room.
func (ix *Index[T]) Match(name string, dst []T) []T {
	if !inLimits(name) {
		return dst
	}
	if s, ok := ix.literal[name]; ok {
		dst = s.appendTo(dst)
	}
	if ix.depths != 0 {
		dst, _ = ix.matchPrefixes(name, dst, false)
	}
	if !ix.tree.root.empty() {
		w := walk[T]{p: ix.tree.path(name), dst: dst}
		w.start(&ix.tree.root)
		dst = w.dst
	}
	return dst
}

// Any tells whether any filter matches name, and stops at the first that does.
func (ix *Index[T]) Any(name string) bool {
	if !inLimits(name) {
		return false
	}
	if _, ok := ix.literal[name]; ok {
		return true
	}
	if ix.depths != 0 {
		if _, found := ix.matchPrefixes(name, nil, true); found {
			return true
		}
	}
	if ix.tree.root.empty() {
		return false
	}
	w := walk[T]{p: ix.tree.path(name), onlyAny: true}
	w.start(&ix.tree.root)
	return w.found
}

// matchPrefixes looks up the beginnings of name, the whole included, as "a/#"
// matches "a". Those of a depth that no filter has are skipped.
func (ix *Index[T]) matchPrefixes(name string, dst []T, onlyAny bool) (_ []T, found bool) {
	levels := 0
	for i := 0; i <= min(len(name), maxPrefixLength); i++ {
		if i < len(name) && name[i] != '/' {
			continue
		}
		levels++
		rest := ix.depths >> levels
		if rest == 0 {
			break
		}
		if rest&1 == 0 {
			continue
		}
		s, ok := ix.prefix[name[:i]]
		if !ok {
			continue
		}
		if onlyAny {
			return dst, true
		}
		dst = s.appendTo(dst)
	}
	return dst, false
}

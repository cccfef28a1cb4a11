package topic

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Few words, so that levels meet; more than listMax of them, so that branches
// get their tables; an empty one, a reserved one, and one beginning another.
var words = []string{"", "a", "b", "ab", "c", "d", "e", "$s"}

func genLevels(last ...string) *rapid.Generator[string] {
	return rapid.Custom(func(t *rapid.T) string {
		from := append(slices.Clone(words), last...)
		parts := rapid.SliceOfN(rapid.SampledFrom(from), 1, 5).Draw(t, "levels")
		s := strings.Join(parts, "/")
		if len(last) > 0 && rapid.IntRange(0, 3).Draw(t, "hash") == 0 {
			s += "/#"
		}
		if s == "" {
			return "#"
		}
		return s
	})
}

var (
	genFilter = genLevels("+", "+", "+", "+")
	genName   = genLevels().Filter(func(s string) bool { return s != "#" })
)

// genMask makes levels collide now and then, always or never.
func genMask(t *rapid.T) uint32 {
	return rapid.SampledFrom([]uint32{0, 1, 3, ^uint32(0)}).Draw(t, "mask")
}

type pair struct {
	filter string
	v      int
}

func TestIndexAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix := NewIndex[int]()
		ix.tree.h.mask = genMask(t)
		model := map[pair]bool{}
		draw := func(t *rapid.T) pair {
			return pair{genFilter.Draw(t, "filter"), rapid.IntRange(0, 3).Draw(t, "v")}
		}
		remove := func(t *rapid.T, p pair) {
			if got := ix.Remove(p.filter, p.v); got != model[p] {
				t.Fatalf("Remove(%v) = %v", p, got)
			}
			delete(model, p)
		}
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				p := draw(t)
				if got := ix.Add(p.filter, p.v); got == model[p] {
					t.Fatalf("Add(%v) = %v", p, got)
				}
				model[p] = true
			},
			"add2":   func(t *rapid.T) { p := draw(t); ix.Add(p.filter, p.v); model[p] = true },
			"remove": func(t *rapid.T) { remove(t, draw(t)) },
			"removeKnown": func(t *rapid.T) {
				if len(model) > 0 {
					remove(t, rapid.SampledFrom(sortedPairs(model)).Draw(t, "pair"))
				}
			},
			"": func(t *rapid.T) { checkPairs(t, ix, model, genName.Draw(t, "name")) },
		})
		for p := range model {
			ix.Remove(p.filter, p.v)
		}
		if ix.Len() != 0 || len(ix.literal) != 0 || len(ix.prefix) != 0 || ix.depths != 0 || !ix.tree.root.empty() {
			t.Fatalf("index keeps something: %+v", ix)
		}
	})
}

func sortedPairs(model map[pair]bool) []pair {
	return slices.SortedFunc(maps.Keys(model), func(a, b pair) int {
		if c := strings.Compare(a.filter, b.filter); c != 0 {
			return c
		}
		return a.v - b.v
	})
}

func checkPairs(t *rapid.T, ix *Index[int], model map[pair]bool, name string) {
	var want []int
	for p := range model {
		if naiveMatch(p.filter, name) {
			want = append(want, p.v)
		}
	}
	got := ix.Match(name, nil)
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("Match(%q) = %v, want %v of %v", name, got, want, sortedPairs(model))
	}
	if ix.Any(name) != (len(want) > 0) {
		t.Fatalf("Any(%q) = %v", name, ix.Any(name))
	}
	if ix.Len() != len(model) {
		t.Fatalf("Len() = %d, want %d", ix.Len(), len(model))
	}
	checkShape(t, &ix.tree.root, true)
}

func TestStoreAgreesWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := NewStore[int]()
		s.tree.h.mask = genMask(t)
		model := map[string]int{}
		remove := func(t *rapid.T, name string) {
			_, want := model[name]
			if got := s.Delete(name); got != want {
				t.Fatalf("Delete(%q) = %v", name, got)
			}
			delete(model, name)
		}
		set := func(t *rapid.T) {
			name, v := genName.Draw(t, "name"), rapid.Int().Draw(t, "v")
			s.Set(name, v)
			model[name] = v
		}
		t.Repeat(map[string]func(*rapid.T){
			"set":    set,
			"set2":   set,
			"delete": func(t *rapid.T) { remove(t, genName.Draw(t, "name")) },
			"deleteKnown": func(t *rapid.T) {
				if len(model) > 0 {
					remove(t, rapid.SampledFrom(slices.Sorted(maps.Keys(model))).Draw(t, "known"))
				}
			},
			"get": func(t *rapid.T) {
				name := genName.Draw(t, "name")
				got, ok := s.Get(name)
				if want, has := model[name]; got != want || ok != has {
					t.Fatalf("Get(%q) = %v, %v", name, got, ok)
				}
			},
			"": func(t *rapid.T) {
				filter := genFilter.Draw(t, "filter")
				checkStore(t, s, slices.Collect(maps.Keys(model)), filter)
				s.Match(filter, func(name string, v int) bool {
					if model[name] != v {
						t.Fatalf("%q has %d, want %d", name, v, model[name])
					}
					return true
				})
				if s.Len() != len(model) {
					t.Fatalf("Len() = %d, want %d", s.Len(), len(model))
				}
				checkShape(t, &s.tree.root, true)
			},
		})
		for name := range model {
			s.Delete(name)
		}
		if s.Len() != 0 || !s.tree.root.empty() {
			t.Fatalf("store keeps something: %+v", s)
		}
	})
}

// checkShape holds the tree to its promise: no node without a need.
func checkShape[V any](t *rapid.T, b *branch[V], root bool) {
	if b.empty() && !root {
		t.Fatalf("empty branch")
	}
	children, listed := []*node[V]{b.plus, b.hash}, 0
	for n := b.first; n != nil; n = n.next {
		children = append(children, n)
		listed++
	}
	if listed != b.count || (b.byHash == nil && b.count > listMax) {
		t.Fatalf("%d children listed, %d counted, table %v", listed, b.count, b.byHash)
	}
	for _, n := range children {
		if n == nil {
			continue
		}
		if n.branch == nil {
			if !n.has {
				t.Fatalf("leaf %q without a value", n.key)
			}
			continue
		}
		if leaf := n.branch.only(); leaf != nil && leaf.branch == nil && !n.has {
			t.Fatalf("inner node %q leads to the leaf %q alone", n.level(), leaf.key)
		}
		if !n.has && n.key != n.level() {
			t.Fatalf("inner node %q keeps %q", n.level(), n.key)
		}
		checkShape(t, n.branch, false)
	}
}

func TestValuesAgreeWithModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ix, model := NewIndex[int](), map[int]bool{}
		for range rapid.IntRange(1, 8).Draw(t, "phases") {
			low := rapid.IntRange(0, 200).Draw(t, "low")
			high := rapid.IntRange(low, 400).Draw(t, "high")
			adding := rapid.Bool().Draw(t, "adding")
			for v := low; v < high; v++ {
				if adding && ix.Add("a", v) == model[v] {
					t.Fatalf("Add(%d) of %v", v, model)
				}
				if !adding && ix.Remove("a", v) != model[v] {
					t.Fatalf("Remove(%d) of %v", v, model)
				}
				model[v] = adding
			}
			maps.DeleteFunc(model, func(_ int, in bool) bool { return !in })
			got := ix.Match("a", nil)
			slices.Sort(got)
			if want := slices.Sorted(maps.Keys(model)); !slices.Equal(got, want) {
				t.Fatalf("got %v, want %v", got, want)
			}
		}
	})
}

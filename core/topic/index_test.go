package topic

import (
	"fmt"
	"strings"
	"testing"
)

func TestIndexAppendsToWhatIsThere(t *testing.T) {
	ix := NewIndex[int]()
	for i, filter := range []string{"a/b", "a/+", "a/#", "#", "+/b"} {
		ix.Add(filter, i)
	}
	got := ix.Match("a/b", []int{42})
	if len(got) != 6 || got[0] != 42 {
		t.Fatalf("got %v", got)
	}
}

func TestIndexYieldsAValueOnceForEachFilter(t *testing.T) {
	ix := NewIndex[string]()
	for _, filter := range []string{"a/b", "a/+", "a/#", "#"} {
		ix.Add(filter, "one")
		if ix.Add(filter, "one") {
			t.Fatalf("%q added twice", filter)
		}
	}
	if got := ix.Match("a/b", nil); len(got) != 4 {
		t.Fatalf("got %v", got)
	}
}

func TestIndexRefusesWhatIsBeyondTheLimits(t *testing.T) {
	ix, s := NewIndex[int](), NewStore[int]()
	for _, text := range []string{"", strings.Repeat("a", MaxLength+1), levels(MaxLevels + 1), levels(MaxLevels) + "/+"} {
		if ix.Add(text, 1) || ix.Remove(text, 1) || ix.Any(text) || len(ix.Match(text, nil)) != 0 {
			t.Errorf("index took %.20q", text)
		}
		s.Set(text, 1)
		if _, ok := s.Get(text); ok || s.Len() != 0 || s.Delete(text) {
			t.Errorf("store took %.20q", text)
		}
		s.Match(text, func(string, int) bool { t.Errorf("store matched %.20q", text); return true })
	}
}

func TestNamesBeyondTheLimitsMatchNothing(t *testing.T) {
	ix := NewIndex[int]()
	for n := range MaxLevels {
		ix.Add(strings.Repeat("+/", n)+"+", n)
		ix.Add(strings.Repeat("+/", n)+"#", n)
	}
	for _, name := range []string{levels(MaxLevels + 1), levels(MaxLevels * 2), strings.Repeat("a", 2*MaxLength)} {
		if ix.Any(name) || len(ix.Match(name, nil)) != 0 {
			t.Errorf("%d bytes match", len(name))
		}
	}
}

func TestIndexServesTheDeepestAndTheLongest(t *testing.T) {
	deep, long := levels(MaxLevels), strings.Repeat("x", MaxLength-2)
	plus := strings.Repeat("+/", MaxLevels-1) + "+"
	filters := []string{
		deep, plus, "#", "a/#", "+/#", long, long + "/#", long + "/+",
		strings.Repeat("+/", MaxLevels-1) + "#", strings.Repeat("a/", MaxLevels-1) + "#",
		strings.Repeat("+/", MaxLevels-1) + "a", strings.Repeat("a/", MaxLevels-1) + "+",
	}
	ix, s := NewIndex[string](), NewStore[int]()
	for _, filter := range filters {
		if err := ValidateFilter(filter); err != nil {
			t.Fatal(err)
		}
		ix.Add(filter, filter)
	}
	names := []string{deep, long, long + "/y", strings.TrimSuffix(deep, "/a"), "a"}
	for _, name := range names {
		s.Set(name, 0)
		checkIndex(t, ix, filters, name)
	}
	for _, filter := range filters {
		checkStore(t, s, names, filter)
		ix.Remove(filter, filter)
	}
	for _, name := range names {
		s.Delete(name)
	}
	checkEmpty(t, ix, s)
}

// Deep down, where branches have tables, siblings must still be told apart.
func TestTreePartsAtEachDepth(t *testing.T) {
	for _, depth := range []int{1, 63, 64, 65, MaxLevels - 2} {
		ix, s := NewIndex[string](), NewStore[int]()
		var filters, names []string
		for d := 1; d <= depth; d++ {
			for i := range 2 * listMax {
				filters = append(filters, strings.Repeat("+/", d)+fmt.Sprint(i))
				names = append(names, strings.Repeat("a/", d)+fmt.Sprint(i))
			}
		}
		for i := range filters {
			ix.Add(filters[i], filters[i])
			s.Set(names[i], i)
		}
		for i := range filters {
			got := ix.Match(names[i], nil)
			if len(got) != 1 || got[0] != filters[i] {
				t.Fatalf("depth %d: %q meets %q", depth, names[i], got)
			}
			if v, ok := s.Get(names[i]); !ok || v != i {
				t.Fatalf("depth %d: %q has %d, %v", depth, names[i], v, ok)
			}
		}
		for i := range filters {
			ix.Remove(filters[i], filters[i])
			s.Delete(names[i])
		}
		checkEmpty(t, ix, s)
	}
}

func TestStoreOrder(t *testing.T) {
	s := NewStore[int]()
	for i, name := range []string{"b/2", "b/1", "a", "c/x/1", "b", "c/y", "c/x/0", "$SYS/a", "b/2/z"} {
		s.Set(name, i)
	}
	want := "b b/2 b/2/z b/1 a c/x/1 c/x/0 c/y"
	for range 3 {
		var got []string
		s.Match("#", func(name string, _ int) bool { got = append(got, name); return true })
		if strings.Join(got, " ") != want {
			t.Fatalf("got %q, want %q", got, want)
		}
	}
}

func TestStoreStopsWhenToldTo(t *testing.T) {
	s := NewStore[int]()
	for i := range 20 {
		s.Set(fmt.Sprintf("a/%d/x", i), i)
		s.Set(fmt.Sprintf("a/%d", i), i)
	}
	for _, filter := range []string{"#", "a/+", "+/+/x", "a/#", "a/3/#", "a/3", "+/3/#"} {
		for stop := 1; stop <= 2; stop++ {
			calls := 0
			s.Match(filter, func(string, int) bool { calls++; return calls < stop })
			if calls > stop || calls == 0 {
				t.Errorf("%q: %d calls after the stop at %d", filter, calls, stop)
			}
		}
	}
}

func TestStoreReplacesValues(t *testing.T) {
	s := NewStore[string]()
	s.Set("a/b", "old")
	s.Set("a/b", "new")
	if v, ok := s.Get("a/b"); v != "new" || !ok || s.Len() != 1 {
		t.Fatalf("got %q, %v", v, ok)
	}
}

func TestMatchDoesNotAllocate(t *testing.T) {
	ix := NewIndex[*int]()
	v := new(int)
	for i := range 100 {
		for _, form := range []string{"a/%d/c", "a/%d/#", "a/+/c%d", "+/%d/c", "#", "a/+/#", "+/%d/+/#"} {
			ix.Add(strings.ReplaceAll(form, "%d", fmt.Sprint(i)), v)
		}
	}
	deep := levels(MaxLevels)
	ix.Add(strings.Repeat("+/", MaxLevels-1)+"+", v)
	ix.Add(strings.Repeat("+/", MaxLevels-1)+"a", v)
	name, dst := []byte("a/50/c"), make([]*int, 0, 64)
	s := NewStore[*int]()
	for i := range 100 {
		s.Set(fmt.Sprintf("a/%d/c", i), v)
	}
	n := 0
	for what, f := range map[string]func(){
		"Index.Match":       func() { n += len(ix.Match("a/50/c", dst)) },
		"Index.Match deep":  func() { n += len(ix.Match(deep, dst)) },
		"Index.Match miss":  func() { n += len(ix.Match("$x/y/z", dst)) },
		"Index.Any":         func() { _ = ix.Any("b/c/d") },
		"Match":             func() { _ = Match("a/+/#", "a/b/c") },
		"ValidateNameBytes": func() { _ = ValidateNameBytes(name) },
		"ValidateFilter":    func() { _ = ValidateFilter("a/+/#") },
		"Store.Get":         func() { _, _ = s.Get("a/50/c") },
		"Store.Set":         func() { s.Set("a/50/c", v) },
		"Store.Match":       func() { s.Match("+/+/c", func(string, *int) bool { n++; return true }) },
	} {
		if got := testing.AllocsPerRun(100, f); got != 0 {
			t.Errorf("%s: %v allocations", what, got)
		}
	}
}

package topic

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
)

const benchFilters = 1 << 20

// forms give the filters of a million devices, and the names that meet them.
// Each device has a filter of its own, so that nothing is in the cache by luck.
var forms = map[string]struct {
	filter, name func(i int) string
}{
	"literal": {
		func(i int) string { return fmt.Sprintf("site/%d/dev/%d/temp", i%1000, i) },
		func(i int) string { return fmt.Sprintf("site/%d/dev/%d/temp", i%1000, i) },
	},
	"plus": {
		func(i int) string {
			if i%2 == 0 {
				return fmt.Sprintf("site/%d/+/%d/temp", i%1000, i)
			}
			return fmt.Sprintf("site/+/dev/%d/+", i)
		},
		func(i int) string { return fmt.Sprintf("site/%d/dev/%d/temp", i%1000, i) },
	},
	"hash": {
		func(i int) string { return fmt.Sprintf("site/%d/dev/%d/#", i%1000, i) },
		func(i int) string { return fmt.Sprintf("site/%d/dev/%d/temp", i%1000, i) },
	},
}

func formOf(kind string, i int) string {
	if kind == "mixed" || kind == "miss" {
		return [...]string{"literal", "plus", "hash"}[i/2%3]
	}
	return kind
}

func benchFilterList(kind string) []string {
	filters := make([]string, benchFilters)
	for i := range filters {
		filters[i] = forms[formOf(kind, i)].filter(i)
	}
	return filters
}

func benchNames(kind string) []string {
	names := make([]string, 1<<16)
	for i := range names {
		n := rand.IntN(benchFilters)
		names[i] = forms[formOf(kind, n)].name(n)
		if kind == "miss" {
			names[i] = strings.Replace(names[i], "dev/", "dev/x", 1)
		}
	}
	return names
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func fill(filters []string) *Index[*int] {
	ix, v := NewIndex[*int](), new(int)
	for _, f := range filters {
		ix.Add(f, v)
	}
	return ix
}

// BenchmarkMatch measures a match against a million filters, each time with
// another name. "bytes/filter" is what the index holds besides the text.
func BenchmarkMatch(b *testing.B) {
	for _, kind := range []string{"literal", "plus", "hash", "mixed", "miss"} {
		var (
			ix        *Index[*int]
			names     []string
			perFilter float64
		)
		b.Run(kind, func(b *testing.B) {
			if ix == nil { // the framework calls more than once
				filters := benchFilterList(kind)
				before := heap()
				ix = fill(filters)
				perFilter = float64(heap()-before) / benchFilters
				runtime.KeepAlive(filters)
				names = benchNames(kind)
			}
			dst, found := make([]*int, 0, 64), 0
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				found += len(ix.Match(names[i&(len(names)-1)], dst))
			}
			b.ReportMetric(float64(found)/float64(b.N), "matches/op")
			b.ReportMetric(perFilter, "bytes/filter")
		})
	}
}

// BenchmarkHostile measures what filters made to hurt cost one match.
func BenchmarkHostile(b *testing.B) {
	deepPlus := []string{}
	for n := 1; n <= MaxLevels; n++ {
		deepPlus = append(deepPlus, strings.Repeat("+/", n-1)+"+")
	}
	choices := []string{}
	for i := range 1 << 12 { // a or + at each of 12 levels, then a miss
		s := ""
		for bit := range 12 {
			s += [...]string{"a/", "+/"}[i>>bit&1]
		}
		choices = append(choices, s+"x")
	}
	long := strings.Repeat("y", 60000)
	for _, tc := range []struct {
		name, topic string
		filters     []string
	}{
		{"128 levels of plus", levels(MaxLevels), deepPlus},
		{"4096 ways", strings.Repeat("a/", 12) + "y", choices},
		{"4096 ways to a long level", strings.Repeat("a/", 12) + long, choices},
	} {
		b.Run(tc.name, func(b *testing.B) {
			ix, dst := fill(tc.filters), make([]*int, 0, 256)
			b.ReportAllocs()
			for b.Loop() {
				ix.Match(tc.topic, dst)
			}
		})
	}
}

func BenchmarkAdd(b *testing.B) {
	for _, kind := range []string{"literal", "plus", "hash", "mixed"} {
		b.Run(kind, func(b *testing.B) {
			filters := benchFilterList(kind)
			ix, v := NewIndex[*int](), new(int)
			b.ReportAllocs()
			b.ResetTimer()
			for i := range b.N {
				if i%benchFilters == 0 {
					ix = NewIndex[*int]()
				}
				ix.Add(filters[i%benchFilters], v)
			}
		})
	}
}

func BenchmarkRemoveAdd(b *testing.B) {
	filters := benchFilterList("mixed")
	ix, v := NewIndex[*int](), new(int)
	for _, f := range filters {
		ix.Add(f, v)
	}
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		f := filters[i*7919%benchFilters]
		ix.Remove(f, v)
		ix.Add(f, v)
	}
}

func BenchmarkStore(b *testing.B) {
	names := benchNames("literal")
	before := heap()
	s := NewStore[*int]()
	for _, name := range names {
		s.Set(name, nil)
	}
	perName := float64(heap()-before) / float64(s.Len())
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			s.Get(names[i&(len(names)-1)])
		}
		b.ReportMetric(perName, "bytes/name")
	})
	b.Run("set", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			s.Set(names[i&(len(names)-1)], nil)
		}
	})
	b.Run("site of 65", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Match("site/7/+/+/temp", func(string, *int) bool { return true })
		}
	})
	b.Run("all of 64k", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s.Match("#", func(string, *int) bool { return true })
		}
	})
}

func BenchmarkValidate(b *testing.B) {
	name := []byte("site/123/dev/456789/temp")
	b.Run("name", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = ValidateNameBytes(name)
		}
	})
	b.Run("filter", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_ = ValidateFilter("site/+/dev/456789/#")
		}
	})
}

package topic

import (
	"slices"
	"strings"
	"testing"
)

// naiveMatch is written from the text of §4.7 with no thought of speed, and
// shares no code with what it checks.
func naiveMatch(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "+" || f[0] == "#") {
		return false
	}
	if f[len(f)-1] == "#" {
		f = f[:len(f)-1]
		if len(n) < len(f) {
			return false
		}
		n = n[:len(f)]
	}
	return slices.EqualFunc(f, n, func(f, n string) bool { return f == "+" || f == n })
}

// The examples of MQTT 5.0 and 3.1.1, §4.7, and the corners around them.
var matchCases = []struct {
	filter, name string
	want         bool
}{
	{"sport/tennis/player1/#", "sport/tennis/player1", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/ranking", true},
	{"sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true},
	{"sport/tennis/player1/#", "sport/tennis/player2", false},
	{"sport/tennis/player1/#", "sport/tennis/player11", false},
	{"sport/#", "sport", true},
	{"#", "sport", true},
	{"#", "/", true},
	{"sport/tennis/+", "sport/tennis/player1", true},
	{"sport/tennis/+", "sport/tennis/player2", true},
	{"sport/tennis/+", "sport/tennis/player1/ranking", false},
	{"sport/+", "sport", false},
	{"sport/+", "sport/", true},
	{"+/tennis/#", "sport/tennis", true},
	{"+/tennis/#", "sport/tennis/a/b", true},
	{"+/tennis/#", "sport/golf", false},
	{"sport/+/player1", "sport/tennis/player1", true},
	{"+/+", "/finance", true},
	{"/+", "/finance", true},
	{"+", "/finance", false},
	{"#", "$SYS/monitor", false},
	{"+", "$SYS", false},
	{"+/monitor/Clients", "$SYS/monitor/Clients", false},
	{"$SYS/#", "$SYS/monitor/Clients", true},
	{"$SYS/#", "$SYS", true},
	{"$SYS/monitor/+", "$SYS/monitor/Clients", true},
	{"$SYS/+/Clients", "$SYS/monitor/Clients", true},
	{"a/#", "a/$b", true},
	{"a/+", "a/$b", true},
	{"ACCOUNTS", "Accounts", false}, // §4.7.3: case sensitive
	{"/finance", "finance", false},
	{"/finance/", "/finance", false},
	{"/#", "/", true},
	{"/#", "/a", true},
	{"/#", "a", false},
	{"/", "/", true},
	{"+/", "/", true},
	{"+//+", "a//b", true},
	{"+/+/#", "a", false},
	{"+/+/#", "a/b", true},
	{"a/b", "a/b", true},
	{"a/b", "a", false},
	{"a", "a/b", false},
	{"e\u0301", "\u00e9", false}, // §1.5.4: no normalisation
	{"+/b/+/d/#", "a/b/c/d", true},
	{"+/b/+/d/#", "a/b/c/e", false},
}

func TestMatchExamples(t *testing.T) {
	for _, tc := range matchCases {
		if got := naiveMatch(tc.filter, tc.name); got != tc.want {
			t.Errorf("naiveMatch(%q, %q) = %v", tc.filter, tc.name, got)
		}
		if got := Match(tc.filter, tc.name); got != tc.want {
			t.Errorf("Match(%q, %q) = %v", tc.filter, tc.name, got)
		}
		ix := NewIndex[int]()
		ix.Add(tc.filter, 1)
		if got := len(ix.Match(tc.name, nil)) == 1; got != tc.want {
			t.Errorf("index: %q, %q = %v", tc.filter, tc.name, got)
		}
		s := NewStore[int]()
		s.Set(tc.name, 1)
		got := false
		s.Match(tc.filter, func(string, int) bool { got = true; return true })
		if got != tc.want {
			t.Errorf("store: %q, %q = %v", tc.filter, tc.name, got)
		}
	}
}

func TestHasWildcard(t *testing.T) {
	for filter, want := range map[string]bool{"a/b": false, "+": true, "a/#": true, "$SYS": false} {
		if got := HasWildcard(filter); got != want {
			t.Errorf("HasWildcard(%q) = %v", filter, got)
		}
	}
}

// FuzzMatch takes lists of filters and names, one a line, so that they meet in
// one index and one store.
func FuzzMatch(f *testing.F) {
	f.Add("a/+\na/#\n#\n+/b", "a/b\na\n$a/b")
	f.Add("+/+/#\n/+\n+//#", "/\n//a\na/b/c")
	f.Add("x/+/1\nx/+/2\nx/+/3\nx/+/4\nx/+/5\nx/+/6", "x/y/3\nx//6")
	f.Fuzz(func(t *testing.T, filterLines, nameLines string) {
		filters := keep(strings.Split(filterLines, "\n"), ValidateFilter)
		names := keep(strings.Split(nameLines, "\n"), ValidateName)
		ix, s := NewIndex[string](), NewStore[int]()
		for _, filter := range filters {
			ix.Add(filter, filter)
		}
		for i, name := range names {
			s.Set(name, i)
		}
		for _, name := range names {
			checkIndex(t, ix, filters, name)
		}
		for _, filter := range filters {
			checkStore(t, s, names, filter)
		}
		for _, filter := range filters {
			ix.Remove(filter, filter)
		}
		for _, name := range names {
			s.Delete(name)
		}
		checkEmpty(t, ix, s)
	})
}

// keep returns the first 64 valid lines, each once.
func keep(lines []string, valid func(string) error) []string {
	lines = slices.DeleteFunc(lines, func(s string) bool { return valid(s) != nil })
	slices.Sort(lines)
	lines = slices.Compact(lines)
	return lines[:min(len(lines), 64)]
}

type failer interface {
	Helper()
	Fatalf(format string, args ...any)
}

// checkIndex compares an index in which each filter is its own value.
func checkIndex(t failer, ix *Index[string], filters []string, name string) {
	t.Helper()
	want := []string{}
	for _, filter := range filters {
		if naiveMatch(filter, name) {
			want = append(want, filter)
		}
		if Match(filter, name) != naiveMatch(filter, name) {
			t.Fatalf("Match(%q, %q) = %v", filter, name, Match(filter, name))
		}
	}
	got := ix.Match(name, []string{})
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("Match(%q) = %q, want %q of %q", name, got, want, filters)
	}
	if ix.Any(name) != (len(want) > 0) {
		t.Fatalf("Any(%q) = %v, want %q", name, ix.Any(name), want)
	}
}

// checkStore compares the names that a filter finds.
func checkStore[V any](t failer, s *Store[V], names []string, filter string) {
	t.Helper()
	want := []string{}
	for _, name := range names {
		if naiveMatch(filter, name) {
			want = append(want, name)
		}
	}
	got := []string{}
	s.Match(filter, func(name string, _ V) bool { got = append(got, name); return true })
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Fatalf("Store.Match(%q) = %q, want %q of %q", filter, got, want, names)
	}
}

// checkEmpty looks inside: what is empty must hold nothing on to.
func checkEmpty[V any](t failer, ix *Index[string], s *Store[V]) {
	t.Helper()
	if ix.Len() != 0 || len(ix.literal) != 0 || len(ix.prefix) != 0 || ix.depths != 0 || !ix.tree.root.empty() {
		t.Fatalf("index keeps something: %+v", ix)
	}
	if s.Len() != 0 || !s.tree.root.empty() {
		t.Fatalf("store keeps something: %+v", s)
	}
}

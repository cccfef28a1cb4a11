package config

import (
	"cmp"
	"slices"
	"strings"
)

// Problem is one thing that is wrong with a configuration. It is an error.
type Problem struct {
	Where string // file:line, variable, flag or "default"
	Key   string // dotted; empty: the file as a whole
	Text  string // what is wrong
	Fix   string // what to write instead; may be empty
}

// Error is "where: key: text; fix".
func (p Problem) Error() string {
	var parts []string
	for _, s := range []string{p.Where, p.Key, p.Text} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	s := strings.Join(parts, ": ")
	if p.Fix != "" {
		s += "; " + p.Fix
	}
	return s
}

// unknownKey is the problem of a name that no setting has.
func unknownKey(where, name string) Problem {
	p := Problem{Where: where, Key: name, Text: "there is no such key"}
	if near := nearest(name, append(Keys(), sections()...)); near != "" {
		p.Fix = "did you mean " + near + "?"
		return p
	}
	sec, _ := section(name)
	var inside []string
	for _, k := range keys {
		if s, leaf := section(k.name); s != "" && s == sec {
			inside = append(inside, leaf)
		}
	}
	if len(inside) > 0 {
		p.Fix = sec + " has " + strings.Join(inside, ", ")
		return p
	}
	// A key at the wrong level: "listen" for "mqtt.listen".
	for _, k := range keys {
		if _, leaf := section(k.name); leaf == name {
			p.Fix = "did you mean " + k.name + "?"
			return p
		}
	}
	return p
}

func sections() []string {
	var names []string
	for _, k := range keys {
		if sec, _ := section(k.name); sec != "" && !slices.Contains(names, sec) {
			names = append(names, sec)
		}
	}
	return names
}

// nearest returns the candidate that takes the fewest edits, or "" when all
// are so far that a suggestion would only mislead.
func nearest(name string, candidates []string) string {
	if len(name) > 64 {
		return ""
	}
	best := slices.MinFunc(candidates, func(a, b string) int {
		return cmp.Compare(edits(name, a), edits(name, b))
	})
	if edits(name, best) > max(1, len(name)/3) {
		return ""
	}
	return best
}

// edits is the Levenshtein distance in bytes.
func edits(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			above := row[j+1]
			row[j+1] = min(above+1, row[j]+1, diagonal+cost)
			diagonal = above
		}
	}
	return row[len(b)]
}

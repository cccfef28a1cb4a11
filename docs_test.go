package pushhub

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// statements are the lists of what the standards ask, with the tests that hold it.
var statements = []string{"docs/protocols/mqtt-3.1.1.md", "docs/protocols/mqtt-5.0.md"}

// statuses begin the third cell of a statement's row.
var statuses = []string{"yes", "partial", "no", "n/a", "client"}

var (
	statementID = regexp.MustCompile(`^\d+(\.\d+)+-\d+$`)
	cited       = regexp.MustCompile("`([a-z/]+):((?:Test|Fuzz)\\w+)`")
)

// A documented test that is not there promises what nobody checks.
func TestDocumentedTestsExist(t *testing.T) {
	known := map[string]map[string]bool{}
	for _, file := range statements {
		seen := map[string]bool{}
		for _, row := range statementRows(t, file) {
			id, status, tests := row[0], row[2], row[3]
			if seen[id] {
				t.Errorf("%s: %s stands there twice", file, id)
			}
			seen[id] = true
			word, _, _ := strings.Cut(status, ":")
			if !slices.Contains(statuses, word) {
				t.Errorf("%s: %s has the status %q", file, id, word)
			}
			all := cited.FindAllStringSubmatch(tests, -1)
			if word == "yes" && len(all) == 0 {
				t.Errorf("%s: nothing holds %s", file, id)
			}
			if rest := cited.ReplaceAllString(tests, ""); strings.Trim(rest, ", ") != "" {
				t.Errorf("%s: %s cites %s, which is not `package:Test`", file, id, rest)
			}
			for _, c := range all {
				if dir, name := c[1], c[2]; !testsIn(t, known, dir)[name] {
					t.Errorf("%s: %s cites %s, which is not in %s", file, id, name, dir)
				}
			}
		}
		if len(seen) < 140 {
			t.Errorf("%s: %d statements", file, len(seen))
		}
	}
}

// statementRows are the rows of the tables, cell by cell.
func statementRows(t *testing.T, file string) (rows [][]string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		cells := strings.Split(strings.TrimSpace(line), "|")
		if len(cells) != 6 {
			continue
		}
		cells = cells[1:5]
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		if statementID.MatchString(cells[0]) {
			rows = append(rows, cells)
		}
	}
	return rows
}

// testsIn are the test functions of the package in a directory.
func testsIn(t *testing.T, known map[string]map[string]bool, dir string) map[string]bool {
	t.Helper()
	if known[dir] != nil {
		return known[dir]
	}
	known[dir] = map[string]bool{}
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range parsed.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				known[dir][f.Name.Name] = true
			}
		}
	}
	return known[dir]
}

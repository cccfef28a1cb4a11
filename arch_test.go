// Package pushhub holds no code: these tests hold the shape of the repository,
// so that a newcomer can trust what the directories promise.
package pushhub

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "pushhub"

// Sizes above which a reader loses the thread, in lines.
const (
	maxFile     = 450
	maxFunction = 80
)

// pure packages decide and hold state, nothing else: time and IO are their callers' affair.
var pure = []string{"core/topic", "core/qos", "core/journal", "core/session", "core/presence"}

// fronts speak a protocol each.
var fronts = []string{"mqttfront", "xmppfront", "httpfront"}

// notPure are the imports, with all below them, that a pure package must do without.
var notPure = []string{"net", "sync", "context", "log", "os", "syscall"}

// clock are the functions of package time that read or wait for the clock.
var clock = []string{"Now", "Since", "Until", "After", "AfterFunc", "Tick", "NewTimer", "NewTicker", "Sleep"}

// A listed package is what `go list -json` tells of one.
type listed struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	Imports    []string
}

// name is the package's directory below the module's.
func (p listed) name() string {
	return strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
}

// A rule says what the packages that it applies to must not import.
type rule struct {
	name    string
	applies func(pkg string) bool
	forbids func(pkg, imported string) bool
}

var rules = []rule{
	{
		"a pure package does no IO, takes no locks, reads no clock and logs nothing",
		func(pkg string) bool { return within(pkg, pure...) },
		func(_, imported string) bool { return under(imported, notPure...) },
	},
	{
		"a pure package imports no room of the house but other pure ones",
		func(pkg string) bool { return within(pkg, pure...) },
		func(_, imported string) bool { return ours(imported) && !within(local(imported), pure...) },
	},
	{
		"core does not know who uses it",
		func(pkg string) bool { return within(pkg, "core") },
		func(_, imported string) bool { return ours(imported) && !within(local(imported), "core") },
	},
	{
		"fronts import neither the bus nor each other",
		func(pkg string) bool { return within(pkg, fronts...) },
		func(pkg, imported string) bool {
			other := ours(imported) && within(local(imported), fronts...) && room(local(imported)) != room(pkg)
			return other || ours(imported) && within(local(imported), "bus")
		},
	},
	{
		"the bus does not import fronts",
		func(pkg string) bool { return within(pkg, "bus") },
		func(_, imported string) bool { return ours(imported) && within(local(imported), fronts...) },
	},
	{
		"only the bus knows NATS",
		func(pkg string) bool { return !within(pkg, "bus") },
		func(_, imported string) bool { return under(imported, "github.com/nats-io") },
	},
	{
		"only cmd reads the configuration",
		func(pkg string) bool { return !within(pkg, "cmd", "config") },
		func(_, imported string) bool { return ours(imported) && within(local(imported), "config") },
	},
	{
		"nobody imports cmd",
		func(pkg string) bool { return !within(pkg, "cmd") },
		func(_, imported string) bool { return ours(imported) && within(local(imported), "cmd") },
	},
	{
		"the integration tests see of the hub what its users see",
		func(pkg string) bool { return within(pkg, "integration") },
		func(_, imported string) bool { return ours(imported) && !within(local(imported), "integration") },
	},
}

func ours(imported string) bool { return imported == module || strings.HasPrefix(imported, module+"/") }

func local(imported string) string { return strings.TrimPrefix(imported, module+"/") }

func room(pkg string) string {
	first, _, _ := strings.Cut(pkg, "/")
	return first
}

// within says whether a package is one of these or lies below one.
func within(pkg string, dirs ...string) bool { return under(pkg, dirs...) }

func under(path string, parents ...string) bool {
	return slices.ContainsFunc(parents, func(parent string) bool {
		return path == parent || strings.HasPrefix(path, parent+"/")
	})
}

func packages(t *testing.T) []listed {
	t.Helper()
	out, err := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,Imports", "./...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := decoder.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatalf("reading go list: %v", err)
		}
		all = append(all, p)
	}
}

func TestImportsPointOneWay(t *testing.T) {
	for _, p := range packages(t) {
		for _, r := range rules {
			if !r.applies(p.name()) {
				continue
			}
			for _, imported := range p.Imports {
				if r.forbids(p.name(), imported) {
					t.Errorf("%s imports %s, but %s", p.name(), imported, r.name)
				}
			}
		}
	}
}

func TestImportsOfPurePackagesReadNoClock(t *testing.T) {
	for _, p := range packages(t) {
		if !within(p.name(), pure...) {
			continue
		}
		for _, name := range p.GoFiles {
			path := filepath.Join(p.Dir, name)
			files := token.NewFileSet()
			parsed, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatalf("parsing %s: %v", path, err)
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if call, ok := n.(*ast.SelectorExpr); ok && isTime(call.X) && slices.Contains(clock, call.Sel.Name) {
					t.Errorf("%s calls time.%s, but time reaches a pure package as an argument", files.Position(n.Pos()), call.Sel.Name)
				}
				return true
			})
		}
	}
}

func isTime(e ast.Expr) bool {
	name, ok := e.(*ast.Ident)
	return ok && name.Name == "time"
}

func TestSizesOfFilesAndFunctions(t *testing.T) {
	for _, path := range sources(t) {
		if lines, generated := measure(t, path); generated {
			continue
		} else if lines > maxFile {
			t.Errorf("%s has %d lines, more than %d: give one of its nouns a file of its own", path, lines, maxFile)
		}
		files := token.NewFileSet()
		parsed, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("parsing %s: %v", path, err)
		}
		for _, d := range parsed.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; lines > maxFunction {
				t.Errorf("%s: %s has %d lines, more than %d: name its parts", files.Position(f.Pos()), f.Name.Name, lines, maxFunction)
			}
		}
	}
}

// sources are the Go files of the repository that are not tests.
func sources(t *testing.T) []string {
	t.Helper()
	var paths []string
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("walking to %s: %w", path, err)
		}
		if d.IsDir() && (d.Name() == "node_modules" || d.Name() == "testdata" || len(d.Name()) > 1 && d.Name()[0] == '.') {
			return filepath.SkipDir
		}
		if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			paths = append(paths, path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return paths
}

// measure counts a file's lines and says whether a program wrote it.
func measure(t *testing.T, path string) (lines int, generated bool) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("opening %s: %v", path, err)
	}
	defer func() { _ = f.Close() }()
	scanner := bufio.NewScanner(f)
	scanner.Buffer(nil, 1<<20)
	for scanner.Scan() {
		lines++
		generated = generated || strings.HasPrefix(scanner.Text(), "// Code generated ") && strings.HasSuffix(scanner.Text(), " DO NOT EDIT.")
	}
	if err := scanner.Err(); err != nil {
		t.Fatalf("reading %s: %v", path, err)
	}
	return lines, generated
}

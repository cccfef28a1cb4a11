package hubtest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// compiled are the agents in C that this test run has built, and the headers that it has looked for.
var compiled struct {
	sync.Mutex
	dir     string // removed by Main
	agents  map[string]string
	headers map[string]bool
}

// CHas says whether there is a C compiler that finds a header.
func CHas(header string) bool {
	compiled.Lock()
	defer compiled.Unlock()
	has, known := compiled.headers[header]
	if !known {
		probe := exec.Command("gcc", "-fsyntax-only", "-x", "c", "-")
		probe.Stdin = strings.NewReader("#include <" + header + ">\n")
		has = probe.Run() == nil
		if compiled.headers == nil {
			compiled.headers = map[string]bool{}
		}
		compiled.headers[header] = has
	}
	return has
}

// CAgent compiles one of the agents in integration/clients, once a test run, and
// returns the program's path. A warning is an error.
func CAgent(t testing.TB, source, library string) string {
	t.Helper()
	compiled.Lock()
	defer compiled.Unlock()
	if path := compiled.agents[source]; path != "" {
		return path
	}
	if compiled.dir == "" {
		dir, err := os.MkdirTemp("", "pushhub-agents-")
		if err != nil {
			t.Fatalf("making a directory for the agents: %v", err)
		}
		compiled.dir, compiled.agents = dir, map[string]string{}
	}
	path := filepath.Join(compiled.dir, strings.TrimSuffix(source, ".c"))
	gcc := exec.Command("gcc", "-O1", "-Wall", "-Wextra", "-Werror", "-o", path, source, "-l"+library)
	gcc.Dir = filepath.Join(Root(), "integration", "clients")
	if out, err := gcc.CombinedOutput(); err != nil {
		t.Fatalf("compiling %s: %v\n%s", source, err, out)
	}
	compiled.agents[source] = path
	return path
}

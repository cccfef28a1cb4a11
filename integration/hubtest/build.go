package hubtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
)

// built is the outcome of the one build that a test run needs.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// Main runs the tests of a package that uses Binary, and removes what was built
// afterwards. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	for _, dir := range []string{built.dir, compiled.dir} {
		if dir != "" {
			_ = os.RemoveAll(dir)
		}
	}
	os.Exit(code)
}

// Binary is the path of a pushhub built from this tree, with the race detector
// when the tests have it. It is built once a test run. PUSHHUB_BINARY names
// another one to test, such as a released one.
func Binary(t testing.TB) string {
	t.Helper()
	built.once.Do(func() { built.path, built.err = build() })
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

func build() (string, error) {
	if path := os.Getenv("PUSHHUB_BINARY"); path != "" {
		return path, nil
	}
	dir, err := os.MkdirTemp("", "pushhub-binary-")
	if err != nil {
		return "", fmt.Errorf("making a directory for the binary: %w", err)
	}
	built.dir = dir
	path := filepath.Join(dir, "pushhub")
	args := []string{"build", "-o", path}
	if raceDetector {
		args = append(args, "-race")
	}
	build := exec.Command("go", append(args, "./cmd/pushhub")...)
	build.Dir = Root()
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building pushhub: %w\n%s", err, out)
	}
	return path, nil
}

// Root is the top directory of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Join(filepath.Dir(file), "..", "..")
}

package hubtest

import (
	"bufio"
	"context"
	"io"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Patience is how long a condition may take to come true before the test fails.
// It is generous, since the machines of a CI are slow; nothing ever waits it out
// in a run that passes.
const Patience = 30 * time.Second

// maxLine bounds one line of a process's output, in bytes.
const maxLine = 16 << 20

// A Process is a running program whose output is kept line by line.
type Process struct {
	Name string

	t     testing.TB
	cmd   *exec.Cmd
	stdin io.WriteCloser
	done  chan struct{} // closed by reap when the process has ended and its output is read

	mu      sync.Mutex // guards lines, errors, changed
	lines   []string
	errors  []string
	changed chan struct{} // closed and replaced whenever a line is added
	ended   error
}

// Start runs a program; it is killed at the end of the test at the latest.
func Start(t testing.TB, name string, env []string, argv ...string) *Process {
	t.Helper()
	p := &Process{
		Name: name, t: t,
		cmd: exec.Command(argv[0], argv[1:]...), done: make(chan struct{}), changed: make(chan struct{}),
	}
	p.cmd.Env = env
	stdin, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatalf("%s: opening its standard input: %v", name, err)
	}
	p.stdin = stdin
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatalf("%s: opening its standard output: %v", name, err)
	}
	stderr, err := p.cmd.StderrPipe()
	if err != nil {
		t.Fatalf("%s: opening its standard error: %v", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatalf("starting %s: %v", name, err)
	}
	go p.reap(stdout, stderr)
	t.Cleanup(func() {
		p.Kill()
		if t.Failed() {
			t.Logf("%s said:\n%s", name, tail(p.Output(), 60))
		}
	})
	return p
}

// reap reads both outputs to their ends and then collects the exit status.
func (p *Process) reap(stdout, stderr io.Reader) {
	var readers sync.WaitGroup
	readers.Go(func() { p.read(stdout, &p.lines) })
	readers.Go(func() { p.read(stderr, &p.errors) })
	readers.Wait()
	err := p.cmd.Wait()
	p.mu.Lock()
	p.ended = err
	p.mu.Unlock()
	close(p.done)
}

func (p *Process) read(r io.Reader, into *[]string) {
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, 64<<10), maxLine)
	for lines.Scan() {
		p.mu.Lock()
		*into = append(*into, lines.Text())
		close(p.changed)
		p.changed = make(chan struct{})
		p.mu.Unlock()
	}
	_, _ = io.Copy(io.Discard, r)
}

// Output is all that the process has written: standard output, then standard error.
func (p *Process) Output() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(append(append([]string(nil), p.lines...), p.errors...), "\n")
}

// WaitLine waits for the first line of standard output that match accepts, and
// returns it. It fails the test when the process ends first or Patience runs out.
func (p *Process) WaitLine(what string, match func(line string) bool) string {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), Patience)
	defer cancel()
	for at := 0; ; {
		ended := p.over()
		p.mu.Lock()
		lines, changed := p.lines, p.changed
		p.mu.Unlock()
		for ; at < len(lines); at++ {
			if match(lines[at]) {
				return lines[at]
			}
		}
		if ended {
			p.t.Fatalf("%s ended (%v) before %s; it said:\n%s", p.Name, p.ended, what, tail(p.Output(), 40))
		}
		select {
		case <-changed:
		case <-p.done:
		case <-ctx.Done():
			p.t.Fatalf("%s: no %s within %v; it said:\n%s", p.Name, what, Patience, tail(p.Output(), 40))
		}
	}
}

// WaitOutput waits until text stands somewhere in what the process has written.
func (p *Process) WaitOutput(t testing.TB, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	for {
		ended := p.over()
		p.mu.Lock()
		changed := p.changed
		p.mu.Unlock()
		if strings.Contains(p.Output(), text) {
			return
		}
		if ended {
			t.Fatalf("%s ended (%v) before it said %q; it said:\n%s", p.Name, p.ended, text, tail(p.Output(), 40))
		}
		select {
		case <-changed:
		case <-p.done:
		case <-ctx.Done():
			t.Fatalf("%s did not say %q within %v; it said:\n%s", p.Name, text, Patience, tail(p.Output(), 40))
		}
	}
}

// over says whether the process has ended and all of its output is here.
func (p *Process) over() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// Write sends a line to the process's standard input.
func (p *Process) Write(line string) {
	p.t.Helper()
	if _, err := io.WriteString(p.stdin, line+"\n"); err != nil {
		p.t.Fatalf("%s: writing to it: %v; it said:\n%s", p.Name, err, tail(p.Output(), 40))
	}
}

// Wait waits for the process to end and returns how it ended: nil for status 0.
func (p *Process) Wait() error {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	select {
	case <-p.done:
		return p.ended
	case <-ctx.Done():
		p.t.Fatalf("%s did not end within %v; it said:\n%s", p.Name, Patience, tail(p.Output(), 40))
		return ctx.Err()
	}
}

// Kill ends the process as kill -9 does, and waits until it is gone.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	<-p.done
}

// Signal sends a signal: what an operator would send.
func (p *Process) Signal(s syscall.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: sending it %v: %v", p.Name, s, err)
	}
}

// CloseInput ends the process's standard input, on which the clients say good-bye and end.
func (p *Process) CloseInput() { _ = p.stdin.Close() }

// tail is the last n lines of s.
func tail(s string, n int) string {
	lines := strings.Split(s, "\n")
	if len(lines) <= n {
		return s
	}
	return "…\n" + strings.Join(lines[len(lines)-n:], "\n")
}

package load

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTime = 15 * time.Second // for a started target to accept connections
	stopTime  = 2 * time.Second  // between SIGTERM and SIGKILL
	tailSize  = 2048             // of a started target's output, for the error when it ends early
)

// server is a target that is up.
type server struct {
	target Target
	addr   string
	tls    string // empty when it has no TLS listener
	pid    int    // 0 when unknown
	proc   *process
}

// process is a target that bench started, alone in its process group.
type process struct {
	cmd    *exec.Cmd
	dir    string
	output tail
	ended  chan struct{} // closed by the waiting goroutine once the process is reaped
}

// raise brings a target up: starts it when it has a command, and waits until
// its port accepts. The caller stops it.
func raise(ctx context.Context, t Target) (*server, error) {
	s := &server{target: t, addr: t.Addr, tls: t.TLSAddr, pid: t.PID}
	if len(t.Command) > 0 {
		if err := s.start(); err != nil {
			return nil, fmt.Errorf("target %s: starting %s: %w", t.Name, t.Command[0], err)
		}
	}
	if err := s.await(ctx); err != nil {
		s.stop()
		return nil, fmt.Errorf("target %s: %w", t.Name, err)
	}
	return s, nil
}

func (s *server) start() error {
	ports, err := freePorts()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return fmt.Errorf("making its directory: %w", err)
	}
	fill := strings.NewReplacer(portMark, ports[0], tlsPortMark, ports[1], dirMark, dir)
	words := make([]string, len(s.target.Command))
	for i, w := range s.target.Command {
		words[i] = fill.Replace(w)
	}
	s.addr, s.tls = fill.Replace(s.addr), fill.Replace(s.tls)
	p := &process{cmd: exec.Command(words[0], words[1:]...), dir: dir, ended: make(chan struct{})}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	p.cmd.Stdout, p.cmd.Stderr = &p.output, &p.output
	p.cmd.WaitDelay = time.Second // a grandchild may keep the pipe open
	if err := p.cmd.Start(); err != nil {
		os.RemoveAll(dir)
		return err
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait() // how it ended shows in its output
	}()
	s.proc, s.pid = p, p.cmd.Process.Pid
	return nil
}

// await returns once the target accepts connections.
func (s *server) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	var ended chan struct{} // never ready for a target that runs already
	if s.proc != nil {
		ended = s.proc.ended
	}
	retry := time.NewTicker(20 * time.Millisecond)
	defer retry.Stop()
	var dialer net.Dialer
	for {
		conn, err := dialer.DialContext(ctx, "tcp", s.addr)
		if err == nil {
			return conn.Close()
		}
		if s.proc == nil {
			return fmt.Errorf("connecting: %w", err)
		}
		select {
		case <-ended:
			return fmt.Errorf("it ended at once: %s", s.proc.output.String())
		case <-ctx.Done():
			return fmt.Errorf("%s does not accept connections (%w): %s", s.addr, err, s.proc.output.String())
		case <-retry.C:
		}
	}
}

// cpu returns the CPU time used so far, 0 when the pid is unknown.
func (s *server) cpu() (time.Duration, error) {
	if s.pid == 0 {
		return 0, nil
	}
	return treeCPU(s.pid)
}

// stop ends a target that bench started, with its whole process group.
func (s *server) stop() {
	p := s.proc
	if p == nil {
		return
	}
	defer os.RemoveAll(p.dir)
	_ = syscall.Kill(-s.pid, syscall.SIGTERM) // an error means that it is gone
	select {
	case <-p.ended:
	case <-time.After(stopTime):
	}
	_ = syscall.Kill(-s.pid, syscall.SIGKILL)
	<-p.ended
}

// freePorts finds two loopback ports that nobody listens on now.
func freePorts() ([2]string, error) {
	var ports [2]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return ports, fmt.Errorf("finding a free port: %w", err)
		}
		defer l.Close() // held until both are known: else they could be one
		ports[i] = strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}

// tail keeps the last bytes written to it.
type tail struct {
	mu   sync.Mutex // guards data
	data []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.data = append(t.data, p[max(0, len(p)-tailSize):]...)
	if over := len(t.data) - tailSize; over > 0 {
		t.data = append(t.data[:0], t.data[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.data) == 0 {
		return "no output"
	}
	return strings.TrimSpace(string(t.data))
}

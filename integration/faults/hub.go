package faults

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// Patience is how long the hub may take to start or to stop.
const Patience = 60 * time.Second

// Domain is what the hub is told to serve; Password is every account's.
const (
	Domain   = "localhost"
	Password = "correct horse"
)

// A Hub is `pushhub serve` on ports of its own, whose process can be stopped,
// frozen and killed. All that it writes is kept in hub.log.
type Hub struct {
	MQTT, XMPP string   // host:port
	Data       string   // its data directory
	Extra      []string // further arguments

	binary string
	log    *os.File
	cmd    *exec.Cmd
	ended  chan struct{} // closed by reap when the process is gone; reap is its only closer
	err    error         // how it ended; read after ended
	meant  atomic.Bool   // its end is our doing
}

// NewHub prepares a hub that writes its log into dir.
func NewHub(binary, dir, data string) (*Hub, error) {
	log, err := os.Create(filepath.Join(dir, "hub.log"))
	if err != nil {
		return nil, fmt.Errorf("making the hub's log: %w", err)
	}
	return &Hub{MQTT: "127.0.0.1:0", XMPP: "127.0.0.1:0", Data: data, binary: binary, log: log}, nil
}

// Start starts the hub and waits until it is ready, which takes the returned time.
func (h *Hub) Start() (time.Duration, error) {
	lines, err := h.launch()
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	timer := time.AfterFunc(Patience, h.Kill)
	defer timer.Stop()
	for line := range lines {
		var is struct{ Event, MQTT, XMPP string }
		if json.Unmarshal([]byte(line), &is) == nil && is.Event == "ready" {
			if h.MQTT != is.MQTT || h.XMPP != is.XMPP { // at the first start: devices read them from then on
				h.MQTT, h.XMPP = is.MQTT, is.XMPP
			}
			return time.Since(begin), nil
		}
	}
	<-h.ended
	return 0, fmt.Errorf("the hub ended before it was ready, after %v: %w", time.Since(begin), errors.Join(h.err, errEnded))
}

var errEnded = errors.New("no ready line")

// launch starts the process; its lines come on a channel that reap closes.
func (h *Hub) launch() (<-chan string, error) {
	const off = ""
	args := append([]string{
		"serve", "--json", "--data-dir", h.Data, "--domain", Domain,
		"--mqtt-listen", h.MQTT, "--xmpp-listen", h.XMPP, "--mqtt-tls-listen", off, "--xmpp-tls-listen", off,
		"--nats-sync", "always", "--limits-offline-messages", "10000000",
	}, h.Extra...)
	cmd := exec.Command(h.binary, args...)
	cmd.Env = plainEnv()
	cmd.Stderr = h.log
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("starting the hub: %w", err)
	}
	fmt.Fprintf(h.log, "--- %s starting\n", time.Now().Format(time.RFC3339Nano))
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the hub: %w", err)
	}
	h.cmd, h.ended = cmd, make(chan struct{})
	h.meant.Store(false)
	lines := make(chan string, 16) // sender and closer: reap; what is not received is in the log
	go h.reap(cmd, out, lines, h.ended)
	return lines, nil
}

func (h *Hub) reap(cmd *exec.Cmd, out io.Reader, lines chan<- string, ended chan<- struct{}) {
	in := bufio.NewScanner(out)
	for in.Scan() {
		fmt.Fprintln(h.log, in.Text())
		select {
		case lines <- in.Text():
		default:
		}
	}
	h.err = cmd.Wait()
	fmt.Fprintf(h.log, "--- %s ended: %v\n", time.Now().Format(time.RFC3339Nano), h.err)
	close(ended)
	close(lines)
}

// Kill ends the hub as kill -9 does, and waits until it is gone.
func (h *Hub) Kill() {
	h.meant.Store(true)
	_ = h.cmd.Process.Kill() // it may have ended by itself
	<-h.ended
}

// KillAfter kills the hub while it starts, or a little later.
func (h *Hub) KillAfter(d time.Duration) error {
	if _, err := h.launch(); err != nil {
		return err
	}
	select {
	case <-h.ended:
		return fmt.Errorf("the hub ended while it started: %w", h.err)
	case <-time.After(d):
	}
	h.Kill()
	return nil
}

// Freeze and Thaw are SIGSTOP and SIGCONT.
func (h *Hub) Freeze() error { return h.cmd.Process.Signal(syscall.SIGSTOP) }

// Thaw lets a frozen hub go on.
func (h *Hub) Thaw() error { return h.cmd.Process.Signal(syscall.SIGCONT) }

// Stop ends the hub as an operator does; it must end with status 0.
func (h *Hub) Stop() error {
	h.meant.Store(true)
	if err := h.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return fmt.Errorf("stopping the hub: %w", err)
	}
	select {
	case <-h.ended:
		if h.err != nil {
			return fmt.Errorf("the hub ended badly after SIGTERM: %w", h.err)
		}
		return nil
	case <-time.After(Patience):
		h.Kill()
		return fmt.Errorf("the hub did not end within %v of SIGTERM", Patience)
	}
}

// Alive reports whether the process is there.
func (h *Hub) Alive() bool {
	select {
	case <-h.ended:
		return false
	default:
		return true
	}
}

// AddUser makes an account.
func (h *Hub) AddUser(name string) error {
	cmd := exec.Command(h.binary, "user", "add", name, "--password", Password, "--data-dir", h.Data)
	cmd.Env = plainEnv()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("adding the account %s: %w: %s", name, err, out)
	}
	return nil
}

// Trouble are the words in the log that a hub must never write.
func (h *Hub) Trouble() (found []string) {
	text, err := os.ReadFile(h.log.Name())
	if err != nil {
		return []string{err.Error()}
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:", "is damaged", "cannot be applied"} {
		if strings.Contains(string(text), bad) {
			found = append(found, bad)
		}
	}
	return found
}

// Close ends the hub in any case, and its log.
func (h *Hub) Close() {
	if h.cmd != nil {
		h.Kill()
	}
	_ = h.log.Close()
}

// plainEnv is the environment without what would configure the hub behind our back.
func plainEnv() (env []string) {
	for _, entry := range os.Environ() {
		if !strings.HasPrefix(entry, "PUSHHUB_") {
			env = append(env, entry)
		}
	}
	return env
}

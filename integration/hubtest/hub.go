package hubtest

import (
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// Password is the password of every account that AddUser makes.
const Password = "correct horse"

// Domain is the XMPP domain that the hub serves; its certificate names it.
const Domain = "localhost"

// A Hub is `pushhub serve`, running on free ports and in a directory of its own.
type Hub struct {
	MQTT, MQTTS string // host:port
	XMPP, XMPPS string // host:port; XMPPS speaks TLS from the first byte
	WS, WSS     string // host:port; "" unless the settings open them
	Unix        string // a path; so too
	Dir         string // the data directory

	t       testing.TB
	extra   []string
	process *Process
	caFile  string
}

// ready is the line that `serve --json` prints once it listens.
type ready struct {
	Event string `json:"event"`
	MQTT  string `json:"mqtt"`
	MQTTS string `json:"mqtts"`
	XMPP  string `json:"xmpp"`
	XMPPS string `json:"xmpps"`
	WS    string `json:"ws"`
	WSS   string `json:"wss"`
	Unix  string `json:"unix"`
}

// StartHub starts a hub with a new data directory and waits until it listens.
// At the end of the test it is stopped as an operator stops it, and must end well.
func StartHub(t testing.TB, extra ...string) *Hub {
	t.Helper()
	const free = "127.0.0.1:0"
	h := &Hub{MQTT: free, MQTTS: free, XMPP: free, XMPPS: free, Dir: t.TempDir(), t: t, extra: extra}
	h.start()
	t.Cleanup(h.Stop)
	return h
}

func (h *Hub) start() {
	h.t.Helper()
	argv := append([]string{
		Binary(h.t), "serve", "--json", "--data-dir", h.Dir, "--domain", Domain,
		"--mqtt-listen", h.MQTT, "--mqtt-tls-listen", h.MQTTS,
		"--xmpp-listen", h.XMPP, "--xmpp-tls-listen", h.XMPPS,
	}, h.extra...)
	h.process = Start(h.t, "pushhub", CleanEnv(), argv...)
	var is ready
	h.process.WaitLine("ready line", func(line string) bool {
		return json.Unmarshal([]byte(line), &is) == nil && is.Event == "ready"
	})
	h.MQTT, h.MQTTS, h.XMPP, h.XMPPS = is.MQTT, is.MQTTS, is.XMPP, is.XMPPS
	h.WS, h.WSS, h.Unix = is.WS, is.WSS, is.Unix
}

// Reload sends SIGHUP, on which the hub reads its certificates again.
func (h *Hub) Reload() {
	h.t.Helper()
	h.process.Signal(syscall.SIGHUP)
}

// WaitLog waits until the running hub has written this.
func (h *Hub) WaitLog(t testing.TB, text string) {
	t.Helper()
	h.process.WaitOutput(t, text)
}

// Kill ends the hub as kill -9 does. It stays dead until Restart.
func (h *Hub) Kill() { h.process.Kill() }

// Restart starts the hub again, after Kill or Stop, on the same directory and ports.
func (h *Hub) Restart() {
	h.t.Helper()
	h.start()
}

// Stop ends the hub as an operator does, with SIGTERM: it must end with status 0,
// and must have neither panicked nor raced.
func (h *Hub) Stop() {
	h.t.Helper()
	if !h.process.over() {
		h.process.Signal(syscall.SIGTERM)
		if err := h.process.Wait(); err != nil {
			h.t.Errorf("pushhub ended with %v after SIGTERM", err)
		}
	}
	for _, bad := range []string{"WARNING: DATA RACE", "panic:", "fatal error:"} {
		if strings.Contains(h.Logs(), bad) {
			h.t.Errorf("pushhub said %q:\n%s", bad, h.Logs())
		}
	}
}

// Logs is all that the running (or last) hub process wrote.
func (h *Hub) Logs() string { return h.process.Output() }

// Command runs another verb of the binary to its end, and fails the test when it fails.
func (h *Hub) Command(args ...string) string {
	h.t.Helper()
	cmd := exec.Command(Binary(h.t), args...)
	cmd.Env = CleanEnv()
	out, err := cmd.CombinedOutput()
	if err != nil {
		h.t.Fatalf("pushhub %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// AddUser makes accounts, whose password is Password.
func (h *Hub) AddUser(names ...string) {
	h.t.Helper()
	for _, name := range names {
		h.Command("user", "add", name, "--password", Password, "--data-dir", h.Dir)
	}
}

// Contact makes two accounts see each other's presence.
func (h *Hub) Contact(a, b string) {
	h.t.Helper()
	h.Command("user", "contact", a, b, "--data-dir", h.Dir)
}

// Certificate is a file with the certificate that the hub's TLS listener shows,
// for clients to check. It is fetched as any client would fetch it.
func (h *Hub) Certificate() string {
	h.t.Helper()
	if h.caFile != "" {
		return h.caFile
	}
	conn, err := tls.Dial("tcp", h.MQTTS, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // this is how the certificate becomes known
	if err != nil {
		h.t.Fatalf("fetching the hub's certificate: %v", err)
	}
	defer func() { _ = conn.Close() }()
	leaf := conn.ConnectionState().PeerCertificates[0]
	path := filepath.Join(h.t.TempDir(), "hub.pem")
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Raw})
	if err := os.WriteFile(path, block, 0o600); err != nil {
		h.t.Fatalf("keeping the hub's certificate: %v", err)
	}
	h.caFile = path
	return path
}

// HostPort splits one of the hub's addresses.
func HostPort(t testing.TB, address string) (host, port string) {
	t.Helper()
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatalf("the hub's address %q: %v", address, err)
	}
	return host, port
}

// CleanEnv is the environment without what would configure a hub or a client behind the test's back.
func CleanEnv() []string {
	var env []string
	for _, entry := range os.Environ() {
		switch {
		case strings.HasPrefix(entry, "PUSHHUB_"), strings.HasPrefix(entry, "SSL_CERT_"), strings.HasPrefix(entry, "NODE_"):
		default:
			env = append(env, entry)
		}
	}
	return env
}

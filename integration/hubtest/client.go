package hubtest

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// An Event is one JSON line that a client of another author printed: what it
// received, or the outcome of what it was told to do.
type Event struct {
	Event string `json:"event"`
	ID    int    `json:"id"`
	OK    bool   `json:"ok"`
	Error string `json:"error"`

	// Of MQTT messages and connections.
	Topic   string `json:"topic"`
	Payload string `json:"payload"` // hexadecimal
	QoS     int    `json:"qos"`
	Retain  Flag   `json:"retain"`
	Dup     bool   `json:"dup"`
	Present bool   `json:"present"` // the session was present
	Codes   []int  `json:"codes"`

	// Of XMPP stanzas.
	JID      string    `json:"jid"`
	From     string    `json:"from"`
	To       string    `json:"to"`
	Kind     string    `json:"kind"` // of a copy: sent or received
	Type     string    `json:"type"`
	Body     string    `json:"body"`
	Status   string    `json:"status"`
	Items    []Item    `json:"items"`
	Children []Element `json:"children"`
}

// A Flag is a boolean; mosquitto_sub writes it as 0 or 1.
type Flag bool

// UnmarshalJSON implements json.Unmarshaler.
func (f *Flag) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "1", "true":
		*f = true
	case "0", "false", "null":
		*f = false
	default:
		return fmt.Errorf("a flag cannot be %s", b)
	}
	return nil
}

// An Item is an item of a pubsub node.
type Item struct {
	Node    string   `json:"node"`
	Item    string   `json:"item"`
	Payload *Element `json:"payload"`
}

// An Element is an XML element as the client's own parser read it.
type Element struct {
	Name     string            `json:"name"`
	Xmlns    string            `json:"xmlns"`
	Attrs    map[string]string `json:"attrs"`
	Text     string            `json:"text"`
	Children []Element         `json:"children"`
}

// Bytes is the payload of an MQTT message.
func (e Event) Bytes(t testing.TB) []byte {
	t.Helper()
	b, err := hex.DecodeString(e.Payload)
	if err != nil {
		t.Fatalf("payload %q: %v", e.Payload, err)
	}
	return b
}

// A Client is a program of another author that speaks one of the two protocols.
type Client struct {
	*Process
	last int // the id of the last command
}

// Within lets a subtest use a client that outlives it: failures are the
// subtest's until it ends. Subtests that share a client run one after the other.
func (c *Client) Within(t testing.TB) {
	outer := c.t
	c.t = t
	t.Cleanup(func() { c.t = outer })
}

// Command is one command for a client's script; "do" and "id" are added.
type Command map[string]any

// Do tells the client to do something and waits until it is done, well or not.
func (c *Client) Do(verb string, with Command) Event {
	c.t.Helper()
	c.last++
	id := c.last
	command := Command{"id": id, "do": verb}
	for k, v := range with {
		command[k] = v
	}
	line, err := json.Marshal(command)
	if err != nil {
		c.t.Fatalf("%s: encoding %s: %v", c.Name, verb, err)
	}
	c.Write(string(line))
	return c.Find("result of "+verb, func(e Event) bool { return e.Event == "result" && e.ID == id })
}

// Must is Do for what has to succeed.
func (c *Client) Must(verb string, with Command) Event {
	c.t.Helper()
	e := c.Do(verb, with)
	if !e.OK {
		c.t.Fatalf("%s: %s %v: %s", c.Name, verb, with, e.Error)
	}
	return e
}

// Find waits for the first event since the client started that match accepts.
func (c *Client) Find(what string, match func(Event) bool) Event {
	c.t.Helper()
	var found Event
	c.WaitLine(what, func(line string) bool {
		var e Event
		if json.Unmarshal([]byte(line), &e) != nil || !match(e) {
			return false
		}
		found = e
		return true
	})
	return found
}

// Ready waits until the client is connected, logged in and known to the hub.
func (c *Client) Ready() Event {
	c.t.Helper()
	e := c.Find("ready", func(e Event) bool { return e.Event == "ready" || e.Event == "refused" })
	if e.Event == "refused" {
		c.t.Fatalf("%s: the hub refused the connection: %s", c.Name, e.Error)
	}
	return e
}

// Quit lets the client say good-bye and end.
func (c *Client) Quit() {
	c.t.Helper()
	c.Do("quit", nil)
	c.CloseInput()
	_ = c.Wait() // its exit status is its own affair
}

// Script starts one of the scripts in integration/clients.
func Script(h *Hub, name, interpreter, script string, args ...string) *Client {
	h.t.Helper()
	path := filepath.Join(Root(), "integration", "clients", script)
	return &Client{Process: Start(h.t, name, h.ClientEnv(), append([]string{interpreter, path}, args...)...)}
}

// ClientEnv is the environment in which a foreign client checks the hub's certificate.
func (h *Hub) ClientEnv() []string {
	ca := h.Certificate()
	return append(CleanEnv(), "SSL_CERT_FILE="+ca, "NODE_EXTRA_CA_CERTS="+ca, "HOME="+h.t.TempDir())
}

// Need skips the test when a foreign client is missing; where
// PUSHHUB_REQUIRE_CLIENTS is set, as in CI, it fails the test.
func Need(t testing.TB, client string, present bool) {
	t.Helper()
	if present {
		return
	}
	if require, _ := strconv.ParseBool(os.Getenv("PUSHHUB_REQUIRE_CLIENTS")); require {
		t.Fatalf("%s is missing, and PUSHHUB_REQUIRE_CLIENTS is set", client)
	}
	t.Skipf("%s is missing: .ci/run shows what to install", client)
}

// Installed says whether a program is there.
func Installed(program string) bool {
	_, err := exec.LookPath(program)
	return err == nil
}

// PythonHas says whether the system's Python has a module.
func PythonHas(module string) bool {
	return exec.Command("/usr/bin/python3", "-c", "import "+module).Run() == nil
}

// ModuleInstalled says whether `npm ci` has installed a module for a script's directory.
func ModuleInstalled(dir, module string) bool {
	path := filepath.Join(Root(), "integration", "clients", dir, "node_modules", filepath.FromSlash(module), "package.json")
	_, err := os.Stat(path)
	return err == nil && Installed("node")
}

// Debug reports whether a line of a command-line client's log says something.
func (c *Client) Debug(what, part string) {
	c.t.Helper()
	c.WaitLine(what, func(line string) bool { return strings.Contains(line, part) })
}

package xmppfront

import (
	"bytes"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

func plainOf(user, password string) string {
	return base64.StdEncoding.EncodeToString([]byte("\x00" + user + "\x00" + password))
}

// expect reads the text, in which {} stands for anything without markup or,
// between tags, for anything at all, and {name} for what later lines may use.
func (c *client) expect(want string) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for !strings.Contains(want, "{") && !bytes.HasPrefix(c.buf, []byte(want)) {
		if err := c.read(deadline); err != nil {
			c.t.Fatalf("\n got %s\nwant %s\n     (%v)", c.buf, want, err)
		}
	}
	if bytes.HasPrefix(c.buf, []byte(want)) {
		c.buf = c.buf[len(want):]
		return
	}
	re := c.pattern(want)
	for {
		if m := re.FindSubmatchIndex(c.buf); m != nil && m[0] == 0 {
			for i, name := range re.SubexpNames() {
				if name != "" {
					c.vars[name] = string(c.buf[m[2*i]:m[2*i+1]])
				}
			}
			c.buf = c.buf[m[1]:]
			return
		}
		if err := c.read(deadline); err != nil {
			c.t.Fatalf("\n got %s\nwant %s\n     (%v)", c.buf, want, err)
		}
	}
}

func (c *client) pattern(want string) *regexp.Regexp {
	hole := regexp.MustCompile(`\{([a-z0-9]*)\}`)
	var re strings.Builder
	re.WriteString(`^(?s:`)
	for {
		m := hole.FindStringSubmatchIndex(want)
		if m == nil {
			break
		}
		re.WriteString(regexp.QuoteMeta(want[:m[0]]))
		name := want[m[2]:m[3]]
		switch value, known := c.vars[name]; {
		case name == "":
			re.WriteString(`.*?`)
		case known:
			re.WriteString(regexp.QuoteMeta(value))
		default:
			fmt.Fprintf(&re, `(?P<%s>[^'"<>]+)`, name)
		}
		want = want[m[1]:]
	}
	re.WriteString(regexp.QuoteMeta(want) + `)`)
	return regexp.MustCompile(re.String())
}

func (c *client) read(deadline time.Time) error {
	_ = c.conn.SetReadDeadline(deadline)
	p := make([]byte, 64<<10)
	n, err := c.conn.Read(p)
	c.buf = append(c.buf, p[:n]...)
	if n > 0 {
		return nil
	}
	return err
}

// expectEnd reads the end of the connection.
func (c *client) expectEnd() {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := c.read(deadline)
		if len(bytes.TrimSpace(c.buf)) > 0 {
			c.t.Fatalf("before the end came %s", c.buf)
		}
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			c.t.Fatalf("the connection did not end: %v", err)
		}
	}
}

// startTLS turns the connection into a TLS one.
func (c *client) startTLS() {
	c.t.Helper()
	t := tls.Client(c.conn, &tls.Config{InsecureSkipVerify: true, ServerName: "hub.example"})
	if err := t.Handshake(); err != nil {
		c.t.Fatalf("TLS handshake: %v", err)
	}
	c.conn = t
}

// The plays are dialogues, byte for byte. A line is
//
//	option NAME          before anything else: registration, plain, tls, tls-required, alias HOST
//	account NAME SECRET  before anything else
//	login WHO ACCOUNT SECRET RESOURCE
//	WHO: TEXT            WHO sends TEXT; a new WHO connects
//	WHO< TEXT            WHO receives TEXT; see expect
//	WHO tls              WHO does a TLS handshake
//	WHO ends             WHO's connection is closed by the server
//	WHO drops            WHO's link dies; what follows is on a new connection
//
// and a line that begins with a space goes on with the line before.
func TestPlays(t *testing.T) {
	files, err := filepath.Glob("testdata/plays/*.play")
	if err != nil || len(files) == 0 {
		t.Fatalf("no plays: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".play")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			perform(t, string(text), false)
		})
		t.Run(name+" byte by byte", func(t *testing.T) {
			t.Parallel()
			perform(t, string(text), true)
		})
	}
}

// play is a play on the stage.
type play struct {
	t     *testing.T
	drip  bool // send each byte by itself
	opt   Options
	users [][2]string
	hub   *hub
	who   map[string]*client
}

func perform(t *testing.T, text string, drip bool) {
	p := &play{t: t, drip: drip, who: map[string]*client{}}
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		switch {
		case strings.HasPrefix(line, "#") || strings.TrimSpace(line) == "":
		case line[0] == ' ' && len(lines) > 0:
			lines[len(lines)-1] += strings.TrimLeft(line, " ")
		default:
			lines = append(lines, line)
		}
	}
	for _, line := range lines {
		p.line(line)
		if t.Failed() {
			t.Fatalf("at: %s", line)
		}
	}
}

func (p *play) line(line string) {
	p.t.Helper()
	p.t.Logf("%s", line)
	f := strings.Fields(line)
	switch {
	case f[0] == "option":
		p.option(f[1:])
	case f[0] == "account":
		p.users = append(p.users, [2]string{f[1], f[2]})
	case f[0] == "login":
		p.start()
		p.who[f[1]] = p.hub.login(f[2], f[3], f[4])
	case strings.HasSuffix(f[0], ":"):
		p.actor(strings.TrimSuffix(f[0], ":")).send(strings.TrimPrefix(line, f[0]+" "))
	case strings.HasSuffix(f[0], "<"):
		p.actor(strings.TrimSuffix(f[0], "<")).expect(strings.TrimPrefix(line, f[0]+" "))
	case len(f) == 2 && f[1] == "tls":
		p.actor(f[0]).startTLS()
	case len(f) == 2 && f[1] == "drops":
		old := p.actor(f[0])
		old.drop()
		delete(p.who, f[0])
		p.actor(f[0]).vars = old.vars
	case len(f) == 2 && f[1] == "ends":
		p.actor(f[0]).expectEnd()
	default:
		p.t.Fatalf("what is this line? %q", line)
	}
}

func (p *play) option(f []string) {
	switch f[0] {
	case "registration":
		p.opt.Registration = true
	case "plain":
		p.opt.PlainWithoutTLS = true
	case "tls":
		p.opt.TLS = testTLS(p.t)
	case "tls-required":
		p.opt.TLS, p.opt.TLSRequired = testTLS(p.t), true
	case "alias":
		p.opt.Aliases = append(p.opt.Aliases, f[1])
	default:
		p.t.Fatalf("unknown option %q", f[0])
	}
}

func (p *play) start() {
	if p.hub != nil {
		return
	}
	p.hub = newHub(p.t, p.opt)
	for _, u := range p.users {
		p.hub.account(u[0], u[1])
	}
}

func (p *play) actor(name string) *client {
	p.start()
	if p.who[name] == nil {
		p.who[name] = p.hub.dial()
		p.who[name].drip = p.drip
	}
	return p.who[name]
}

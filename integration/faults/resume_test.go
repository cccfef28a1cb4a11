package faults

import (
	"net"
	"testing"

	"pushhub/integration/hubtest"
)

// TestResumedCountNeverGoesBack: what <a h/> has promised for a stanza that is
// not stored, a presence, still stands after a crash. XEP-0198 §5
func TestResumedCountNeverGoesBack(t *testing.T) {
	hub, err := NewHub(hubtest.Binary(t), t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer hub.Close()
	if _, err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	if err := hub.AddUser("desk"); err != nil {
		t.Fatal(err)
	}
	var m management
	c := dialXMPP(t, hub)
	if !c.managed() {
		t.Skip("the hub does not offer XEP-0198")
	}
	if err := c.bind("rig"); err != nil {
		t.Fatal(err)
	}
	if err := m.enable(c, func(*element) {}); err != nil {
		t.Fatal(err)
	}
	c.say("<message type='chat' to='desk@%s'><body>kept</body></message><presence/><r xmlns='%s'/>", Domain, nsSM)
	if err := c.flush(); err != nil {
		t.Fatal(err)
	}
	var promised uint32
	for promised < 2 {
		e, err := c.expect("a")
		if err != nil {
			t.Fatal(err)
		}
		if promised, err = count(e); err != nil {
			t.Fatal(err)
		}
	}
	hub.Kill()
	if _, err := hub.Start(); err != nil {
		t.Fatal(err)
	}
	resumed, h, err := m.resume(dialXMPP(t, hub))
	if err != nil {
		t.Fatal(err)
	}
	if resumed && h < promised {
		t.Errorf("the hub had handled %d stanzas before the crash, and says %d after it", promised, h)
	}
}

func dialXMPP(t *testing.T, hub *Hub) *xmppConn {
	t.Helper()
	conn, err := net.Dial("tcp", hub.XMPP)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	c := newXMPPConn(conn)
	if err := c.login("desk"); err != nil {
		t.Fatal(err)
	}
	return c
}

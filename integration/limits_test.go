package integration

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"pushhub/integration/hubtest"
)

const quotaExceeded = 0x97

func TestSubscriptionsOfASessionAreLimited(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--limits-subscriptions", "2")
	raw := connected5(t, h, "greedy")
	for _, c := range []struct {
		filters []string
		codes   []byte
	}{
		{[]string{"a", "b", "c", "a"}, []byte{1, 1, quotaExceeded, 1}},
		{[]string{"d"}, []byte{quotaExceeded}},
	} {
		body := []byte{0, 1, 0}
		for _, f := range c.filters {
			body = append(append(body, str(f)...), 1)
		}
		raw.write(packet(0x82, body))
		if first, got := raw.wantPacket(); first != 0x90 || !bytes.HasSuffix(got, c.codes) {
			t.Errorf("%v: got %#x % x, want SUBACK % x", c.filters, first, got, c.codes)
		}
	}
	h.AddUser("ada")
	s := boundStream(t, h, "ada")
	for i, want := range []string{"<subscription node='n0'", "<subscription node='n1'", "<policy-violation "} {
		s.write(fmt.Appendf(nil, `<iq type='set' id='s%d' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>`+
			`<subscribe node='n%d' jid='ada@localhost/raw'/></pubsub></iq>`, i, i))
		s.want(want)
	}
}

func TestTopicsAreLimited(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--limits-topic-bytes", "10", "--limits-topic-levels", "3")
	raw := connected5(t, h, "deep")
	for _, topic := range []string{"a/b/c/d", "01234567890"} {
		raw.write(packet(0x32, str(topic), []byte{0, 1, 0}))
		if first, body := raw.wantPacket(); first != 0x40 || len(body) < 3 || body[2] != badTopicName {
			t.Errorf("publishing to %s: got %#x % x, want PUBACK 0x90", topic, first, body)
		}
		raw.write(packet(0x82, []byte{0, 1, 0}, str(topic), []byte{1}))
		if first, body := raw.wantPacket(); first != 0x90 || body[len(body)-1] != badTopicFilter {
			t.Errorf("subscribing to %s: got %#x % x, want SUBACK 0x8F", topic, first, body)
		}
	}
	raw.write(packet(0x32, str("a/b/c"), []byte{0, 1, 0}))
	if first, body := raw.wantPacket(); first != 0x40 || len(body) > 2 && body[2] >= 0x80 {
		t.Errorf("a topic within the limits: %#x % x", first, body)
	}
}

func TestConnectionsOfAnAddressAreLimited(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--limits-connections-per-address", "2")
	connected5(t, h, "first")
	connected5(t, h, "second")
	third := dialRaw(t, h.MQTT)
	third.attack(connectPacket5("third", login{}))
	if said := third.wantClosed(); len(said) > 0 {
		t.Errorf("the third connection was answered % x", said)
	}
	far, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).Dial("tcp", h.MQTT)
	if err != nil {
		t.Fatalf("connecting from another address: %v", err)
	}
	raw := newRaw(t, far)
	raw.write(connectPacket5("far", login{}))
	raw.wantConnack(0)
}

func TestCrowdOfConnectionsWaitsAndIsServed(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--limits-connect-rate", "20")
	begun := time.Now()
	var all []*rawConn
	for i := range 40 {
		raw := dialRaw(t, h.MQTT)
		raw.write(connectPacket5(fmt.Sprint("c", i), login{}))
		all = append(all, raw)
	}
	for _, raw := range all {
		raw.wantConnack(0)
	}
	if took := time.Since(begun); took < 900*time.Millisecond {
		t.Errorf("40 were served in %v, at 20 a second after the first 20", took)
	}
}

func TestPublishersAreSlowedDownNotRefused(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--limits-publish-rate", "20")
	others := newBystander(t, h)
	const n, least = 40, 900 * time.Millisecond // 20 at once, 20 within a second
	t.Run("MQTT", func(t *testing.T) {
		raw := connected5(t, h, "fast")
		begun := time.Now()
		var burst []byte
		for i := range n {
			burst = append(burst, packet(0x32, str("fast"), []byte{0, byte(i + 1), 0}, []byte("x"))...)
		}
		raw.write(burst)
		others.exchange(t)
		for i := range n {
			if first, body := raw.wantPacket(); first != 0x40 || body[1] != byte(i+1) {
				t.Fatalf("answer %d: %#x % x", i, first, body)
			}
		}
		if took := time.Since(begun); took < least {
			t.Errorf("%d were taken in %v", n, took)
		}
	})
	t.Run("XMPP", func(t *testing.T) {
		h.AddUser("ada")
		s := boundStream(t, h, "ada")
		begun := time.Now()
		var burst []byte
		for i := range n {
			burst = fmt.Appendf(burst, `<iq type='set' id='p%d' to='pubsub.localhost'><pubsub xmlns='http://jabber.org/protocol/pubsub'>`+
				`<publish node='fast'><item><payload xmlns='urn:pushhub:payload:0' type='text/plain'>x</payload></item></publish></pubsub></iq>`, i)
		}
		s.write(burst)
		others.exchange(t)
		s.want(fmt.Sprintf("id='p%d'", n-1))
		if took := time.Since(begun); took < least {
			t.Errorf("%d were taken in %v", n, took)
		}
	})
}

// refusedLogin tries a wrong password over MQTT and waits for the answer.
func refusedLogin(t *testing.T, h *hubtest.Hub, user string) {
	t.Helper()
	raw := dialRaw(t, h.MQTT)
	raw.write(connectPacket5("guesser", withLogin(user, "wrong")))
	raw.wantConnack(0x86)
}

func TestGuessingPasswordsIsSlowForTheGuesserAlone(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("ada", "bob")
	begun := time.Now()
	for range 3 {
		refusedLogin(t, h, "ada")
	}
	guess := dialRaw(t, h.MQTT)
	guess.write(connectPacket5("guesser", withLogin("ada", "wrong")))

	for name, from := range map[string]struct{ user, address string }{
		"another account at the same address": {"bob", "127.0.0.1"},
		"the same account at another address": {"ada", "127.0.0.2"},
	} {
		far, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from.address)}}).Dial("tcp", h.MQTT)
		if err != nil {
			t.Fatalf("connecting from %s: %v", from.address, err)
		}
		raw := newRaw(t, far)
		raw.write(connectPacket5(name, withLogin(from.user, hubtest.Password)))
		raw.wantConnack(0)
		if took := time.Since(begun); took >= time.Second {
			t.Errorf("%s: the login came after %v", name, took)
		}
	}
	guess.wantConnack(0x86)
	if took := time.Since(begun); took < time.Second {
		t.Errorf("the fourth wrong password was answered after %v", took)
	}
	boundStream(t, h, "ada") // over the other front, which waits for the same delay
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("the next login was let in after %v", took)
	}
	begun = time.Now()
	refusedLogin(t, h, "ada")
	if took := time.Since(begun); took > time.Second {
		t.Errorf("after a good login, a wrong password was answered after %v", took)
	}
}

func TestPacketsAreLimitedBeforeAndAfterLogin(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--mqtt-max-connect-size", "1KiB", "--mqtt-max-packet-size", "4KiB")
	stranger := dialRaw(t, h.MQTT)
	stranger.attack(connectPacket5(strings.Repeat("c", 1023), login{}))
	if said := stranger.wantClosed(); len(said) > 0 {
		t.Errorf("a CONNECT of more than 1 KiB was answered % x", said)
	}
	raw := connected5(t, h, "large")
	raw.write(packet(0x32, str("a"), []byte{0, 1, 0}, make([]byte, 3<<10)))
	if first, _ := raw.wantPacket(); first != 0x40 {
		t.Errorf("a packet of 3 KiB was answered by %#x", first)
	}
	raw.attack(packet(0x32, str("a"), []byte{0, 1, 0}, make([]byte, 4<<10)))
	raw.wantDisconnect(packetTooLarge)
}

package integration

import (
	"bufio"
	"bytes"
	"net/http"
	"strings"
	"testing"

	"pushhub/integration/hubtest"
)

const (
	wsListen  = "--mqtt-ws-listen"
	wssListen = "--mqtt-wss-listen"
	anyPort   = "127.0.0.1:0"
)

func TestMQTTOverWebSocket(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, wsListen, anyPort, wssListen, anyPort)
	h.AddUser("phone")
	large := bytes.Repeat([]byte("0123456789abcdef"), 16<<10) // larger than a frame of most clients, and than a read
	for _, kind := range mqttKinds {
		if !kind.webSocket {
			continue
		}
		for _, secure := range []bool{false, true} {
			name := kind.name + map[bool]string{false: " ws", true: " wss"}[secure]
			t.Run(name, func(t *testing.T) {
				kind.need(t)
				client := kind.dial(t, h, mqttOptions{User: "phone", Client: account(name), WS: true, TLS: secure})
				topic := "ws/" + account(name)
				client.Subscribe(topic, 2)
				for _, m := range []mqttMessage{{topic, []byte("small"), 1, false}, {topic, large, 2, false}, {topic, nil, 0, false}} {
					client.Publish(m)
					client.Await("message over WebSocket", exactly(topic, m.Payload))
				}
				client.Quit()
			})
		}
	}
}

// upgrade asks for a WebSocket with these headers besides the usual, and returns
// the answer. What follows is read from the reader.
func upgrade(r *rawConn, first string, headers ...string) (*http.Response, *bufio.Reader) {
	r.t.Helper()
	lines := append([]string{
		first, "Host: hub.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	}, headers...)
	r.write([]byte(strings.Join(lines, "\r\n") + "\r\n\r\n"))
	in := bufio.NewReader(r)
	answer, err := http.ReadResponse(in, nil)
	if err != nil {
		r.t.Fatalf("reading the answer to the upgrade: %v", err)
	}
	r.t.Cleanup(func() { _ = answer.Body.Close() })
	return answer, in
}

const (
	getMQTT  = "GET /mqtt HTTP/1.1"
	wantMQTT = "Sec-WebSocket-Protocol: mqtt"
)

func TestUpgradesThatAreRefused(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, wsListen, anyPort, "--mqtt-ws-origins", "https://app.example")
	for _, c := range []struct {
		name, first string
		headers     []string
		status      int
	}{
		{"no Origin", getMQTT, []string{wantMQTT}, http.StatusSwitchingProtocols},
		{"a page of the same host", getMQTT, []string{wantMQTT, "Origin: http://hub.example"}, http.StatusSwitchingProtocols},
		{"a page that is listed", getMQTT, []string{wantMQTT, "Origin: https://app.example"}, http.StatusSwitchingProtocols},
		{"a page of a stranger", getMQTT, []string{wantMQTT, "Origin: https://evil.example"}, http.StatusForbidden},
		{"no subprotocol", getMQTT, nil, http.StatusBadRequest}, // [MQTT-6.0.0-3]
		{"another path", "GET /other HTTP/1.1", []string{wantMQTT}, http.StatusNotFound},
	} {
		t.Run(c.name, func(t *testing.T) {
			answer, _ := upgrade(dialRaw(t, h.WS), c.first, c.headers...)
			if answer.StatusCode != c.status {
				t.Errorf("got %s, want %d", answer.Status, c.status)
			}
			if p := answer.Header.Get("Sec-WebSocket-Protocol"); (p == "mqtt") != (c.status == http.StatusSwitchingProtocols) { // [MQTT-6.0.0-4]
				t.Errorf("the subprotocol is %q", p)
			}
		})
	}
	h.WaitLog(t, "evil.example") // an operator can see why a page does not work
	t.Run("a browser that opens the address", func(t *testing.T) {
		answer, err := http.Get("http://" + h.WS + "/mqtt")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = answer.Body.Close() }()
		if answer.StatusCode != http.StatusUpgradeRequired || answer.Header.Get("Upgrade") != "websocket" {
			t.Errorf("got %s", answer.Status)
		}
	})
}

// wsFrame is a client's frame; the payload is masked with "key!".
func wsFrame(first byte, payload []byte) []byte {
	if len(payload) > 125 {
		panic("the tests' frames are short")
	}
	b := append([]byte{first, 0x80 | byte(len(payload))}, "key!"...)
	for i, c := range payload {
		b = append(b, c^"key!"[i%4])
	}
	return b
}

func TestPacketsMaySpanAndShareFrames(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, wsListen, anyPort)
	r := dialRaw(t, h.WS)
	_, in := upgrade(r, getMQTT, wantMQTT)
	want := func(frame string) {
		t.Helper()
		got := make([]byte, len(frame))
		for n := 0; n < len(got); {
			m, err := in.Read(got[n:])
			if err != nil {
				t.Fatalf("reading a frame: %v; got %q, want %q", err, got[:n], frame)
			}
			n += m
		}
		if string(got) != frame {
			t.Fatalf("got %q, want %q", got, frame)
		}
	}
	connect := connectPacket4("frames", login{})
	subscribe := packet(0x82, []byte{0, 1}, str("a/b"), []byte{0})
	publish := packet(0x30, str("a/b"), []byte("hello"))
	ping := packet(0xc0)

	r.write(wsFrame(0x82, connect[:5])) // [MQTT-6.0.0-2]
	r.write(wsFrame(0x82, connect[5:]))
	want("\x82\x04\x20\x02\x00\x00")
	r.write(wsFrame(0x02, subscribe[:3])) // a fragmented message, with a Ping inside
	r.write(wsFrame(0x89, []byte("there?")))
	want("\x8a\x06there?")
	r.write(wsFrame(0x80, subscribe[3:]))
	want("\x82\x05\x90\x03\x00\x01\x00")
	r.write(wsFrame(0x82, append(publish, ping...))) // two in one, answered in one
	want("\x82\x0e" + string(publish) + "\xd0\x00")
	r.write(wsFrame(0x81, []byte("text"))) // [MQTT-6.0.0-1]
	want("\x88\x02\x03\xeb")
	r.wantClosed()
}

func TestLastPacketComesBeforeTheClose(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, wsListen, anyPort)
	r := dialRaw(t, h.WS)
	_, in := upgrade(r, getMQTT, wantMQTT)
	r.write(wsFrame(0x82, connectPacket4("who", login{"nobody", "wrong"})))
	r.seen = nil
	got := make([]byte, 10)
	for n := 0; n < len(got); {
		m, err := in.Read(got[n:])
		if err != nil {
			t.Fatalf("after %q: %v", got[:n], err)
		}
		n += m
	}
	if string(got) != "\x82\x04\x20\x02\x00\x04\x88\x02\x03\xe8" {
		t.Errorf("got %q, want CONNACK 4 and Close 1000", got)
	}
}

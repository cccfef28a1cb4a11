package device

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	mochi "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// rules are the broker's.
type rules struct{ mochi.HookBase }

func (*rules) ID() string { return "rules" }

func (*rules) Provides(b byte) bool { return b == mochi.OnConnectAuthenticate || b == mochi.OnACLCheck }

func (*rules) OnConnectAuthenticate(_ *mochi.Client, pk packets.Packet) bool {
	return string(pk.Connect.Password) != "wrong"
}

func (*rules) OnACLCheck(_ *mochi.Client, topic string, _ bool) bool {
	return !strings.HasPrefix(topic, "forbidden/")
}

// startBroker runs a stock broker that lets everybody do everything but write
// below forbidden/ and log in with the password "wrong".
func startBroker(t *testing.T) string {
	t.Helper()
	broker := mochi.New(&mochi.Options{Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err := broker.AddHook(new(rules), nil); err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := broker.AddListener(listeners.NewNet("t", ln)); err != nil {
		t.Fatal(err)
	}
	go func() { _ = broker.Serve() }()
	t.Cleanup(func() { _ = broker.Close() })
	return ln.Addr().String()
}

func connect(t *testing.T, opt MQTTOptions) *MQTT {
	t.Helper()
	m, err := ConnectMQTT(soon(t), opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	return m
}

func TestMQTTDeliversAtEachLevelAndQoS(t *testing.T) {
	addr := startBroker(t)
	for _, level := range []byte{3, 4, 5} {
		for qos := range byte(3) {
			t.Run(fmt.Sprintf("level %d QoS %d", level, qos), func(t *testing.T) {
				topic := fmt.Sprintf("t/%d/%d", level, qos)
				m := connect(t, MQTTOptions{Endpoint: Endpoint{Address: addr}, Level: level, ClientID: "c" + topic, User: "u", Password: "p", Clean: true})
				granted, err := m.Subscribe(soon(t), qos, topic)
				if err != nil || len(granted) != 1 || granted[0] != qos {
					t.Fatalf("granted %v, %v", granted, err)
				}
				want := []byte{0, 1, 0xFF, 'x'}
				if err := m.Publish(soon(t), Message{Topic: topic, Payload: want, QoS: qos}); err != nil {
					t.Fatal(err)
				}
				got := take(t, "message", m.Messages())
				if got.Topic != topic || !bytes.Equal(got.Payload, want) || got.QoS != qos || got.Received.IsZero() {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

func TestMQTT5CarriesProperties(t *testing.T) {
	m := connect(t, MQTTOptions{Endpoint: Endpoint{Address: startBroker(t)}, Level: 5, ClientID: "c", User: "u", Clean: true})
	if _, err := m.Subscribe(soon(t), 1, "t"); err != nil {
		t.Fatal(err)
	}
	sent := Message{
		Topic: "t", Payload: []byte("q"), QoS: 1, ContentType: "text/plain", ResponseTopic: "answers/1",
		Correlation: []byte{7}, User: []Property{{"k", "v"}}, UTF8: true, Expiry: time.Minute,
	}
	if err := m.Publish(soon(t), sent); err != nil {
		t.Fatal(err)
	}
	got := take(t, "message", m.Messages())
	if got.ContentType != "text/plain" || got.ResponseTopic != "answers/1" || !bytes.Equal(got.Correlation, []byte{7}) ||
		len(got.User) != 1 || got.User[0] != (Property{"k", "v"}) || !got.UTF8 || got.Expiry == 0 {
		t.Errorf("got %+v", got)
	}
}

func TestMQTTWillFollowsAKillAlone(t *testing.T) {
	addr := startBroker(t)
	watcher := connect(t, MQTTOptions{Endpoint: Endpoint{Address: addr}, ClientID: "w", User: "u", Clean: true})
	if _, err := watcher.Subscribe(soon(t), 1, "wills/#", "marker"); err != nil {
		t.Fatal(err)
	}
	dying := func(id string) *MQTT {
		return connect(t, MQTTOptions{
			Endpoint: Endpoint{Address: addr}, ClientID: id, User: "u", Clean: true,
			Will: &Message{Topic: "wills/" + id, Payload: []byte("gone"), QoS: 1},
		})
	}
	if err := dying("polite").Close(); err != nil {
		t.Fatal(err)
	}
	dying("cut").Kill()
	if got := take(t, "will", watcher.Messages()); got.Topic != "wills/cut" || string(got.Payload) != "gone" {
		t.Errorf("got %+v", got)
	}
}

func TestMQTTSessionWaitsForItsClient(t *testing.T) {
	addr := startBroker(t)
	for _, level := range []byte{4, 5} {
		opt := MQTTOptions{Endpoint: Endpoint{Address: addr}, Level: level, ClientID: fmt.Sprint("p", level), User: "u", Expiry: time.Hour}
		m := connect(t, opt)
		if m.SessionPresent() {
			t.Errorf("level %d: a session was there before", level)
		}
		topic := fmt.Sprint("later/", level)
		if _, err := m.Subscribe(soon(t), 1, topic); err != nil {
			t.Fatal(err)
		}
		if err := m.Close(); err != nil {
			t.Fatal(err)
		}
		sender := connect(t, MQTTOptions{Endpoint: Endpoint{Address: addr}, ClientID: fmt.Sprint("s", level), User: "u", Clean: true})
		if err := sender.Publish(soon(t), Message{Topic: topic, Payload: []byte("hi"), QoS: 1}); err != nil {
			t.Fatal(err)
		}
		again := connect(t, opt)
		if !again.SessionPresent() {
			t.Errorf("level %d: the session is not there", level)
		}
		if got := take(t, "what waited", again.Messages()); string(got.Payload) != "hi" {
			t.Errorf("level %d: got %+v", level, got)
		}
	}
}

func TestMQTTNamesWhatTheServerAnswered(t *testing.T) {
	addr := startBroker(t)
	tests := []struct {
		name   string
		try    func(t *testing.T) error
		is     error
		text   string
		denied bool
	}{
		{name: "nobody there", is: ErrUnreachable, text: "connecting to 127.0.0.1:1: not reachable", try: func(t *testing.T) error {
			_, err := ConnectMQTT(soon(t), MQTTOptions{Endpoint: Endpoint{Address: "127.0.0.1:1"}})
			return err
		}},
		{name: "wrong password, 3.1.1", is: ErrNotAuthorized, text: "connect: the server answered CONNACK 5 (not authorized)", try: func(t *testing.T) error {
			_, err := ConnectMQTT(soon(t), MQTTOptions{Endpoint: Endpoint{Address: addr}, ClientID: "c", User: "u", Password: "wrong", Clean: true})
			return err
		}},
		{name: "wrong password, 5", is: ErrNotAuthorized, text: "connect: the server answered 0x86 (bad username or password)", try: func(t *testing.T) error {
			_, err := ConnectMQTT(soon(t), MQTTOptions{Endpoint: Endpoint{Address: addr}, Level: 5, ClientID: "c", User: "u", Password: "wrong", Clean: true})
			return err
		}},
		{name: "forbidden topic, 5", is: ErrNotAuthorized, text: "publish to forbidden/x: the server answered 0x87 (not authorized)", try: func(t *testing.T) error {
			m := connect(t, MQTTOptions{Endpoint: Endpoint{Address: addr}, Level: 5, ClientID: "f", User: "u", Clean: true})
			return m.Publish(soon(t), Message{Topic: "forbidden/x", QoS: 1})
		}},
		{name: "after the end", is: ErrClosed, text: "subscribe: the connection is closed", try: func(t *testing.T) error {
			m := connect(t, MQTTOptions{Endpoint: Endpoint{Address: addr}, Level: 5, ClientID: "e", User: "u", Clean: true})
			m.Kill()
			_, err := m.Subscribe(soon(t), 0, "x")
			return err
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := tt.try(t)
			if !errors.Is(err, tt.is) || err == nil || len(err.Error()) < len(tt.text) || err.Error()[:len(tt.text)] != tt.text {
				t.Errorf("got %v, want %q", err, tt.text)
			}
		})
	}
}

// A CONNECT of a 4-byte client id without credentials is 18 bytes, a CONNACK 4,
// a DISCONNECT 2: MQTT 3.1.1 §3.1, §3.2, §3.14.
func TestMeterCountsTheBytesOfTheWire(t *testing.T) {
	server, client := net.Pipe()
	go func() {
		defer server.Close()
		_, _ = io.ReadFull(server, make([]byte, 18))
		_, _ = server.Write([]byte{0x20, 2, 0, 0})
		_, _ = io.ReadFull(server, make([]byte, 2))
	}()
	m, err := ConnectMQTT(soon(t), MQTTOptions{Endpoint: onPipe(client), ClientID: "dev1", Clean: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := m.Traffic(), (Traffic{Up: 18, Down: 4, Writes: 1}); got.Up != want.Up || got.Down != want.Down || got.Writes != want.Writes {
		t.Errorf("connected with %+v, want %+v", got, want)
	}
	if err := m.Close(); err != nil {
		t.Fatal(err)
	}
	if got := m.Traffic(); got.Up != 20 || got.Writes != 2 {
		t.Errorf("closed with %+v", got)
	}
}

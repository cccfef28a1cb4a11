package integration

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/packets"
	paho5 "github.com/eclipse/paho.golang/paho"
	paho3 "github.com/eclipse/paho.mqtt.golang"

	"pushhub/integration/hubtest"
)

const interrupt = syscall.SIGINT

// A mailbox keeps what arrived, for tests that wait for it.
type mailbox struct {
	mu      sync.Mutex // guards arrived, changed
	arrived []mqttMessage
	changed chan struct{} // closed and replaced at each arrival
}

func newMailbox() *mailbox { return &mailbox{changed: make(chan struct{})} }

func (b *mailbox) put(m mqttMessage) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.arrived = append(b.arrived, m)
	close(b.changed)
	b.changed = make(chan struct{})
}

func (b *mailbox) await(t testing.TB, what string, match func(mqttMessage) bool) mqttMessage {
	t.Helper()
	ctx, cancel := patience(t)
	defer cancel()
	for at := 0; ; {
		b.mu.Lock()
		arrived, changed := b.arrived, b.changed
		b.mu.Unlock()
		for ; at < len(arrived); at++ {
			if match(arrived[at]) {
				return arrived[at]
			}
		}
		select {
		case <-changed:
		case <-ctx.Done():
			t.Fatalf("no %s within %v; %d other messages arrived", what, hubtest.Patience, at)
		}
	}
}

func (b *mailbox) count(match func(mqttMessage) bool) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, m := range b.arrived {
		if match(m) {
			n++
		}
	}
	return n
}

// patience bounds one wait.
func patience(t testing.TB) (context.Context, context.CancelFunc) {
	return context.WithTimeout(t.Context(), hubtest.Patience)
}

// clientTLS trusts the hub's certificate alone.
func clientTLS(t testing.TB, h *hubtest.Hub) *tls.Config {
	t.Helper()
	certificate, err := os.ReadFile(h.Certificate())
	if err != nil {
		t.Fatalf("reading the hub's certificate: %v", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(certificate) {
		t.Fatal("the hub's certificate is not one")
	}
	return &tls.Config{RootCAs: roots, ServerName: hubtest.Domain, MinVersion: tls.VersionTLS12}
}

// pahoGo3 is github.com/eclipse/paho.mqtt.golang: MQTT 3.1 and 3.1.1.
type pahoGo3 struct {
	t       testing.TB
	client  paho3.Client
	mail    *mailbox
	present bool
}

func dialPahoGo3(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
	t.Helper()
	return connectPahoGo3(t, h, o)
}

func connectPahoGo3(t testing.TB, h *hubtest.Hub, o mqttOptions) *pahoGo3 {
	t.Helper()
	p := &pahoGo3{t: t, mail: newMailbox()}
	how := paho3.NewClientOptions().
		SetClientID(o.Client).SetCleanSession(!o.Keep).SetAutoReconnect(false).
		SetProtocolVersion(level(o.Version)).SetOrderMatters(true).
		SetConnectTimeout(hubtest.Patience).SetWriteTimeout(hubtest.Patience).
		SetDefaultPublishHandler(func(_ paho3.Client, m paho3.Message) {
			p.mail.put(mqttMessage{Topic: m.Topic(), Payload: m.Payload(), QoS: m.Qos(), Retain: m.Retained()})
		})
	switch {
	case o.WS && o.TLS:
		how.AddBroker("wss://" + h.WSS + "/mqtt").SetTLSConfig(clientTLS(t, h))
	case o.WS:
		how.AddBroker("ws://" + h.WS + "/mqtt")
	case o.TLS:
		how.AddBroker("ssl://" + h.MQTTS).SetTLSConfig(clientTLS(t, h))
	case o.Unix:
		how.AddBroker("unix://" + h.Unix)
	default:
		how.AddBroker("tcp://" + h.MQTT)
	}
	if o.User != "" {
		how.SetUsername(o.User).SetPassword(o.password())
	}
	if w := o.Will; w != nil {
		how.SetBinaryWill(w.Topic, w.Payload, w.QoS, w.Retain)
	}
	p.client = paho3.NewClient(how)
	token := p.client.Connect()
	p.done("connecting", token)
	p.present = token.(*paho3.ConnectToken).SessionPresent()
	t.Cleanup(func() { p.client.Disconnect(0) })
	return p
}

// level is the protocol level byte of MQTT 3.1 and 3.1.1.
func level(version string) uint {
	if version == "3.1" {
		return 3
	}
	return 4
}

func (p *pahoGo3) done(what string, token paho3.Token) {
	p.t.Helper()
	if !token.WaitTimeout(hubtest.Patience) {
		p.t.Fatalf("paho-go-3 %s: no answer within %v", what, hubtest.Patience)
	}
	if err := token.Error(); err != nil {
		p.t.Fatalf("paho-go-3 %s: %v", what, err)
	}
}

func (p *pahoGo3) Subscribe(filter string, qos byte) {
	p.t.Helper()
	p.done("subscribing to "+filter, p.client.Subscribe(filter, qos, nil))
}

func (p *pahoGo3) Publish(m mqttMessage) {
	p.t.Helper()
	p.done("publishing to "+m.Topic, p.client.Publish(m.Topic, m.QoS, m.Retain, m.Payload))
}

func (p *pahoGo3) Await(what string, match func(mqttMessage) bool) mqttMessage {
	p.t.Helper()
	return p.mail.await(p.t, what, match)
}

// quiesce is how long Paho may take to send what it has, in milliseconds.
const quiesce = 250

func (p *pahoGo3) Quit() { p.client.Disconnect(quiesce) }

// pahoGo5 is github.com/eclipse/paho.golang: MQTT 5.0.
type pahoGo5 struct {
	t       testing.TB
	client  *paho5.Client
	conn    net.Conn
	mail    *mailbox
	present bool
}

func dialPahoGo5(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
	t.Helper()
	return connectPahoGo5(t, h, o)
}

func connectPahoGo5(t testing.TB, h *hubtest.Hub, o mqttOptions) *pahoGo5 {
	t.Helper()
	p := &pahoGo5{t: t, conn: dialHub(t, h, o), mail: newMailbox()}
	p.client = paho5.NewClient(paho5.ClientConfig{
		Conn:          p.conn,
		PacketTimeout: hubtest.Patience,
		OnPublishReceived: []func(paho5.PublishReceived) (bool, error){func(r paho5.PublishReceived) (bool, error) {
			m := r.Packet
			p.mail.put(mqttMessage{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain})
			return true, nil
		}},
	})
	connect := &paho5.Connect{ClientID: o.Client, KeepAlive: 60, CleanStart: !o.Keep, Properties: &paho5.ConnectProperties{}}
	if o.Keep {
		hour := uint32(time.Hour / time.Second)
		connect.Properties.SessionExpiryInterval = &hour
	}
	if o.User != "" {
		connect.Username, connect.UsernameFlag = o.User, true
		connect.Password, connect.PasswordFlag = []byte(o.password()), true
	}
	if w := o.Will; w != nil {
		connect.WillMessage = &paho5.WillMessage{Topic: w.Topic, Payload: w.Payload, QoS: w.QoS, Retain: w.Retain}
		connect.WillProperties = &paho5.WillProperties{}
	}
	ctx, cancel := patience(t)
	defer cancel()
	ack, err := p.client.Connect(ctx, connect)
	if err != nil {
		t.Fatalf("paho-go-5 connecting as %s: %v", o.Client, err)
	}
	p.present = ack.SessionPresent
	return p
}

// dialHub opens a connection that is closed at the end of the test. The client
// writes a packet in pieces from several goroutines and leaves it to the
// connection that they do not mix; a TLS connection alone lets them.
func dialHub(t testing.TB, h *hubtest.Hub, o mqttOptions) net.Conn {
	t.Helper()
	var conn net.Conn
	var err error
	switch {
	case o.TLS:
		conn, err = tls.Dial("tcp", h.MQTTS, clientTLS(t, h))
	case o.Unix:
		conn, err = net.Dial("unix", h.Unix)
	default:
		conn, err = net.DialTimeout("tcp", h.MQTT, hubtest.Patience)
	}
	if err != nil {
		t.Fatalf("connecting to the hub: %v", err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return packets.NewThreadSafeConn(conn)
}

func (p *pahoGo5) Subscribe(filter string, qos byte) {
	p.t.Helper()
	ctx, cancel := patience(p.t)
	defer cancel()
	_, err := p.client.Subscribe(ctx, &paho5.Subscribe{Subscriptions: []paho5.SubscribeOptions{{Topic: filter, QoS: qos}}})
	if err != nil {
		p.t.Fatalf("paho-go-5 subscribing to %s: %v", filter, err)
	}
}

func (p *pahoGo5) Publish(m mqttMessage) {
	p.t.Helper()
	ctx, cancel := patience(p.t)
	defer cancel()
	_, err := p.client.Publish(ctx, &paho5.Publish{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: m.Retain})
	if err != nil {
		p.t.Fatalf("paho-go-5 publishing to %s: %v", m.Topic, err)
	}
}

func (p *pahoGo5) Await(what string, match func(mqttMessage) bool) mqttMessage {
	p.t.Helper()
	return p.mail.await(p.t, what, match)
}

func (p *pahoGo5) Quit() { _ = p.client.Disconnect(&paho5.Disconnect{}) }

// subscribeMaybe subscribes where the hub may refuse.
func subscribeMaybe(p *pahoGo5, filter string) {
	p.t.Helper()
	ctx, cancel := patience(p.t)
	defer cancel()
	// A refusal is an error here; the test looks at what arrives.
	_, _ = p.client.Subscribe(ctx, &paho5.Subscribe{Subscriptions: []paho5.SubscribeOptions{{Topic: filter}}})
}

// cut breaks the connection without a DISCONNECT.
func (p *pahoGo5) cut() { _ = p.conn.Close() }

package integration

import (
	"bytes"
	"os/exec"
	"strconv"
	"testing"

	"pushhub/integration/hubtest"
)

// An mqttMessage is an application message as a client saw or sent it.
type mqttMessage struct {
	Topic   string
	Payload []byte
	QoS     byte
	Retain  bool
}

// mqttOptions say how an MQTT client connects. Without User it is anonymous.
type mqttOptions struct {
	User     string
	Client   string
	Version  string // 3.1, 3.1.1 or 5.0; "" leaves it to the client
	Keep     bool   // ask for a session that outlives the connection
	TLS      bool
	WS       bool // over WebSocket; with TLS, over WSS
	Unix     bool // over the unix socket
	Will     *mqttMessage
	Password string // "" is hubtest.Password
}

// An mqttClient is one connected client, whoever wrote it.
type mqttClient interface {
	// Subscribe returns when the hub has granted the subscription.
	Subscribe(filter string, qos byte)
	// Publish returns when the hub has acknowledged it (QoS 1, 2) or it is written.
	Publish(m mqttMessage)
	// Await waits for the first message that match accepts.
	Await(what string, match func(mqttMessage) bool) mqttMessage
	// Quit disconnects as MQTT has it, with a DISCONNECT.
	Quit()
}

// An mqttKind is a client library, or one version of the protocol in it.
type mqttKind struct {
	name string
	need func(t testing.TB)
	dial func(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient

	webSocket bool // it can be told to use WebSocket
}

var mqttKinds = []mqttKind{
	{"mosquitto", needMosquitto, dialMosquitto, false},
	{"paho-python-3.1", needPahoPython, pahoPython("3.1"), true},
	{"paho-python-3.1.1", needPahoPython, pahoPython("3.1.1"), true},
	{"paho-python-5.0", needPahoPython, pahoPython("5.0"), true},
	{"paho-go-3.1.1", func(testing.TB) {}, dialPahoGo3, true},
	{"paho-go-5.0", func(testing.TB) {}, dialPahoGo5, false},
	{"paho-c-3.1", needPahoC, pahoC("3.1"), false},
	{"paho-c-3.1.1", needPahoC, pahoC("3.1.1"), false},
	{"paho-c-5.0", needPahoC, pahoC("5.0"), false},
	{"libmosquitto-3.1", needLibmosquitto, libmosquitto("3.1"), false},
	{"libmosquitto-3.1.1", needLibmosquitto, libmosquitto("3.1.1"), false},
	{"libmosquitto-5.0", needLibmosquitto, libmosquitto("5.0"), false},
	{"mqttjs-3.1", needMQTTjs, mqttjs("3.1"), true},
	{"mqttjs-3.1.1", needMQTTjs, mqttjs("3.1.1"), true},
	{"mqttjs-5.0", needMQTTjs, mqttjs("5.0"), true},
}

// exactly accepts a message on a topic with this very payload.
func exactly(topic string, payload []byte) func(mqttMessage) bool {
	return func(m mqttMessage) bool { return m.Topic == topic && bytes.Equal(m.Payload, payload) }
}

// onTopic accepts any message on a topic.
func onTopic(topic string) func(mqttMessage) bool {
	return func(m mqttMessage) bool { return m.Topic == topic }
}

func (o mqttOptions) password() string {
	if o.Password == "" {
		return hubtest.Password
	}
	return o.Password
}

func fromEvent(t testing.TB, e hubtest.Event) mqttMessage {
	return mqttMessage{Topic: e.Topic, Payload: e.Bytes(t), QoS: byte(e.QoS), Retain: bool(e.Retain)}
}

func awaitEvent(t testing.TB, c *hubtest.Client, what string, match func(mqttMessage) bool) mqttMessage {
	t.Helper()
	var got mqttMessage
	c.Find(what, func(e hubtest.Event) bool {
		if e.Event != "message" {
			return false
		}
		got = fromEvent(t, e)
		return match(got)
	})
	return got
}

func needMosquitto(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "mosquitto_pub, mosquitto_sub (mosquitto-clients)",
		hubtest.Installed("mosquitto_pub") && hubtest.Installed("mosquitto_sub") && hubtest.Installed("stdbuf"))
}

// A mosquitto is mosquitto_sub for each subscription and mosquitto_pub for each message.
type mosquitto struct {
	t    testing.TB
	hub  *hubtest.Hub
	o    mqttOptions
	subs []*hubtest.Client
}

func dialMosquitto(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
	return &mosquitto{t: t, hub: h, o: o}
}

// flags are those that mosquitto_pub and mosquitto_sub share.
func (m *mosquitto) flags(client string) []string {
	flags := []string{"-i", client}
	if m.o.Unix {
		flags = append(flags, "--unix", m.hub.Unix)
	} else {
		address := m.hub.MQTT
		if m.o.TLS {
			address = m.hub.MQTTS
		}
		host, port := hubtest.HostPort(m.t, address)
		flags = append(flags, "-h", host, "-p", port)
	}
	if m.o.User != "" {
		flags = append(flags, "-u", m.o.User, "-P", m.o.password())
	}
	if v := map[string]string{"3.1": "mqttv31", "3.1.1": "mqttv311", "5.0": "mqttv5"}[m.o.Version]; v != "" {
		flags = append(flags, "-V", v)
	}
	if m.o.TLS {
		flags = append(flags, "--cafile", m.hub.Certificate())
	}
	return flags
}

func (m *mosquitto) Subscribe(filter string, qos byte) {
	m.t.Helper()
	client := m.o.Client
	if len(m.subs) > 0 {
		client += "-" + strconv.Itoa(len(m.subs))
	}
	const format = `{"event":"message","topic":"%t","payload":"%x","qos":%q,"retain":%r}`
	argv := append([]string{"stdbuf", "-oL", "mosquitto_sub", "-d", "-F", format, "-t", filter, "-q", strconv.Itoa(int(qos))},
		m.flags(client)...)
	if m.o.Keep {
		argv = append(argv, "-c")
		if m.o.Version == "5.0" {
			argv = append(argv, "-x", "3600")
		}
	}
	if w := m.o.Will; w != nil {
		argv = append(argv, "--will-topic", w.Topic, "--will-payload", string(w.Payload), "--will-qos", strconv.Itoa(int(w.QoS)))
		if w.Retain {
			argv = append(argv, "--will-retain")
		}
	}
	sub := &hubtest.Client{Process: hubtest.Start(m.t, "mosquitto_sub "+client, m.hub.ClientEnv(), argv...)}
	sub.Debug("subscription", "Subscribed (mid:")
	m.subs = append(m.subs, sub)
}

func (m *mosquitto) Publish(p mqttMessage) {
	m.t.Helper()
	argv := append([]string{"-s", "-t", p.Topic, "-q", strconv.Itoa(int(p.QoS))}, m.flags(m.o.Client+"-pub")...)
	if p.Retain {
		argv = append(argv, "-r")
	}
	pub := exec.Command("mosquitto_pub", argv...)
	pub.Stdin = bytes.NewReader(p.Payload)
	if out, err := pub.CombinedOutput(); err != nil {
		m.t.Fatalf("mosquitto_pub -t %s: %v\n%s", p.Topic, err, out)
	}
}

func (m *mosquitto) Await(what string, match func(mqttMessage) bool) mqttMessage {
	m.t.Helper()
	if len(m.subs) == 0 {
		m.t.Fatalf("mosquitto %s has no subscription", m.o.Client)
	}
	return awaitEvent(m.t, m.subs[len(m.subs)-1], what, match)
}

func (m *mosquitto) Quit() {
	for _, sub := range m.subs {
		sub.Signal(interrupt) // mosquitto_sub sends DISCONNECT
		_ = sub.Wait()
	}
	m.subs = nil
}

// cut kills the last mosquitto_sub: the connection breaks without a DISCONNECT.
func (m *mosquitto) cut() { m.subs[len(m.subs)-1].Kill() }

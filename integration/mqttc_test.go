package integration

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"testing"

	"pushhub/integration/hubtest"
)

// An mqttC is an agent in C over a library in C; it takes commands as words (clients/agent.h).
type mqttC struct {
	*hubtest.Client
	t    testing.TB
	last int // the number of the last command
}

func needLibmosquitto(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "gcc, libmosquitto (libmosquitto-dev)", hubtest.CHas("mosquitto.h"))
}

func libmosquitto(version string) func(testing.TB, *hubtest.Hub, mqttOptions) mqttClient {
	return dialC("libmosquitto_agent.c", "mosquitto", version)
}

func needPahoC(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "gcc, Paho for C (libpaho-mqtt-dev)", hubtest.CHas("MQTTClient.h"))
}

func pahoC(version string) func(testing.TB, *hubtest.Hub, mqttOptions) mqttClient {
	return dialC("paho_c_agent.c", "paho-mqtt3cs", version)
}

func dialC(source, library, version string) func(testing.TB, *hubtest.Hub, mqttOptions) mqttClient {
	return func(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
		t.Helper()
		argv := []string{hubtest.CAgent(t, source, library), "client=" + o.Client, "version=" + version}
		address := h.MQTT
		if o.TLS {
			address, argv = h.MQTTS, append(argv, "ca="+h.Certificate())
		}
		host, port := hubtest.HostPort(t, address)
		argv = append(argv, "host="+host, "port="+port)
		if o.Keep {
			argv = append(argv, "keep=1")
		}
		if o.User != "" {
			argv = append(argv, "user="+o.User, "password="+o.password())
		}
		if w := o.Will; w != nil {
			argv = append(argv, "will="+w.Topic, "will_payload="+hex.EncodeToString(w.Payload), fmt.Sprint("will_qos=", w.QoS))
			if w.Retain {
				argv = append(argv, "will_retain=1")
			}
		}
		c := &mqttC{t: t, Client: &hubtest.Client{
			Process: hubtest.Start(t, fmt.Sprintf("%s %s %s", library, version, o.Client), h.ClientEnv(), argv...),
		}}
		c.Ready()
		return c
	}
}

// must gives a command and waits until it is done.
func (c *mqttC) must(format string, args ...any) {
	c.t.Helper()
	c.last++
	id := c.last
	command := fmt.Sprintf(format, args...)
	c.Write(strconv.Itoa(id) + " " + command)
	e := c.Find("result of "+command, func(e hubtest.Event) bool { return e.Event == "result" && e.ID == id })
	if !e.OK {
		c.t.Fatalf("%s: %s: %s", c.Name, command, e.Error)
	}
}

func (c *mqttC) Subscribe(filter string, qos byte) {
	c.t.Helper()
	c.must("subscribe %d %s", qos, filter)
}

func (c *mqttC) Publish(m mqttMessage) {
	c.t.Helper()
	payload := hex.EncodeToString(m.Payload)
	if payload == "" {
		payload = "-"
	}
	retain := 0
	if m.Retain {
		retain = 1
	}
	c.must("publish %d %d %s %s", m.QoS, retain, payload, m.Topic)
}

func (c *mqttC) Await(what string, match func(mqttMessage) bool) mqttMessage {
	c.t.Helper()
	return awaitEvent(c.t, c.Client, what, match)
}

func (c *mqttC) Quit() {
	c.t.Helper()
	c.must("quit")
	c.CloseInput()
	_ = c.Wait()
}

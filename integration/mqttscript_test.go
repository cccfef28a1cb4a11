package integration

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"testing"

	"pushhub/integration/hubtest"
)

// An mqttScript is one of the agents in clients/ that take commands as JSON.
type mqttScript struct {
	*hubtest.Client
	t testing.TB
}

func (s *mqttScript) Subscribe(filter string, qos byte) {
	s.t.Helper()
	s.Must("subscribe", hubtest.Command{"topic": filter, "qos": qos})
}

func (s *mqttScript) Publish(m mqttMessage) {
	s.t.Helper()
	s.Must("publish", hubtest.Command{"topic": m.Topic, "payload": hex.EncodeToString(m.Payload), "qos": m.QoS, "retain": m.Retain})
}

func (s *mqttScript) Await(what string, match func(mqttMessage) bool) mqttMessage {
	s.t.Helper()
	return awaitEvent(s.t, s.Client, what, match)
}

// startScript starts an agent that is told how to connect by one JSON argument.
func startScript(t testing.TB, h *hubtest.Hub, name, interpreter, script string, how map[string]any) *mqttScript {
	t.Helper()
	arg, err := json.Marshal(how)
	if err != nil {
		t.Fatalf("encoding the options of %s: %v", name, err)
	}
	s := &mqttScript{Client: hubtest.Script(h, name, interpreter, script, string(arg)), t: t}
	s.Ready()
	return s
}

// scriptOptions are what both agents read.
func scriptOptions(o mqttOptions) map[string]any {
	how := map[string]any{"client": o.Client, "version": o.Version, "clean": !o.Keep}
	if o.User != "" {
		how["user"], how["password"] = o.User, o.password()
	}
	if w := o.Will; w != nil {
		how["will"], how["will_payload"] = w.Topic, hex.EncodeToString(w.Payload)
		how["will_qos"], how["will_retain"] = w.QoS, w.Retain
	}
	return how
}

func needPahoPython(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "Paho for Python (python3-paho-mqtt)", hubtest.PythonHas("paho.mqtt.client"))
}

func pahoPython(version string) func(testing.TB, *hubtest.Hub, mqttOptions) mqttClient {
	return func(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
		t.Helper()
		o.Version = version
		return dialPahoPython(t, h, o)
	}
}

func dialPahoPython(t testing.TB, h *hubtest.Hub, o mqttOptions) *mqttScript {
	t.Helper()
	how := scriptOptions(o)
	address := h.MQTT
	switch {
	case o.WS && o.TLS:
		address = h.WSS
	case o.WS:
		address = h.WS
	case o.TLS:
		address = h.MQTTS
	}
	if o.TLS {
		how["ca"] = h.Certificate()
	}
	if o.WS {
		how["transport"] = "websockets" // at /mqtt
	}
	host, port := hubtest.HostPort(t, address)
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatalf("port %q: %v", port, err)
	}
	how["host"], how["port"] = host, number
	return startScript(t, h, fmt.Sprintf("paho-python %s %s", o.Version, o.Client), "/usr/bin/python3", "paho_agent.py", how)
}

func needMQTTjs(t testing.TB) {
	t.Helper()
	hubtest.Need(t, "MQTT.js (npm ci in integration/clients/mqttjs)", hubtest.ModuleInstalled("mqttjs", "mqtt"))
}

func mqttjs(version string) func(testing.TB, *hubtest.Hub, mqttOptions) mqttClient {
	return func(t testing.TB, h *hubtest.Hub, o mqttOptions) mqttClient {
		t.Helper()
		o.Version = version
		return dialMQTTjs(t, h, o)
	}
}

func dialMQTTjs(t testing.TB, h *hubtest.Hub, o mqttOptions) *mqttScript {
	t.Helper()
	how := scriptOptions(o)
	switch {
	case o.WS && o.TLS:
		how["url"] = "wss://" + h.WSS + "/mqtt"
	case o.WS:
		how["url"] = "ws://" + h.WS + "/mqtt"
	case o.TLS:
		how["url"] = "mqtts://" + h.MQTTS
	default:
		how["url"] = "mqtt://" + h.MQTT
	}
	return startScript(t, h, fmt.Sprintf("mqttjs %s %s", o.Version, o.Client), "node", "mqttjs/agent.js", how)
}

package integration

import (
	"bytes"
	"testing"

	"pushhub/integration/hubtest"
)

// A hub that stops says to MQTT 5 clients where to go instead, MQTT 5 §4.11.
func TestClientsAreSentToAnotherServer(t *testing.T) {
	t.Parallel()
	const other, useAnotherServer = "hub2.example.org:1883", 0x9C
	h := hubtest.StartHub(t, "--mqtt-redirect", other)
	raw := connected5(t, h, "device")
	h.Stop()
	first, body := raw.wantPacket()
	if first != 0xe0 || len(body) < 2 || body[0] != useAnotherServer || !bytes.Contains(body, str(other)) {
		t.Fatalf("got packet %#x %q, want a DISCONNECT to %s", first, body, other)
	}
	raw.wantClosed()
}

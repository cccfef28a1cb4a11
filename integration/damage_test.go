package integration

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"pushhub/integration/hubtest"
)

// TestDamagedJournalIsReported damages the newest block of the journal: the hub
// starts, says what it lost, and goes on with all that it still has.
func TestDamagedJournalIsReported(t *testing.T) {
	t.Parallel()
	const messages = 50
	damages := map[string]func(block []byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)-100] },
		"flipped": func(b []byte) []byte { b[bytes.Index(b, []byte("number 25"))] ^= 1; return b },
	}
	ends := map[string]func(*hubtest.Hub){"killed": (*hubtest.Hub).Kill, "stopped": (*hubtest.Hub).Stop}
	for damage, change := range damages {
		for end, finish := range ends {
			t.Run(damage+" after the hub was "+end, func(t *testing.T) {
				h := hubtest.StartHub(t)
				sleeper := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
				sleeper.Subscribe("stream", 1)
				sleeper.Quit()
				publisher := connectPahoGo5(t, h, mqttOptions{Client: "publisher"})
				for n := range messages {
					publisher.Publish(mqttMessage{Topic: "stream", QoS: 1, Payload: fmt.Appendf(nil, "number %d", n)})
				}
				finish(h)
				rewriteBlock(t, h, change)
				h.Restart()

				woken := connectPahoGo5(t, h, mqttOptions{Client: "sleeper", Keep: true})
				publisher = connectPahoGo5(t, h, mqttOptions{Client: "publisher"})
				publisher.Publish(mqttMessage{Topic: "stream", QoS: 1, Payload: []byte("last")})
				woken.Await("message after the damage", exactly("stream", []byte("last")))
				for n := range 25 {
					woken.Await("message before the damage", exactly("stream", fmt.Appendf(nil, "number %d", n)))
				}
				if !woken.present {
					t.Error("the hub forgot the session")
				}
				h.WaitLog(t, "damaged")
			})
		}
	}
}

// rewriteBlock changes the newest file of a journal that the hub has closed.
func rewriteBlock(t *testing.T, h *hubtest.Hub, change func([]byte) []byte) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(h.Dir, "bus", "jetstream", "*", "streams", "PH_LOG", "msgs", "*.blk"))
	if err != nil || len(blocks) != 1 {
		t.Fatalf("the journal's blocks are %q: %v", blocks, err)
	}
	b, err := os.ReadFile(blocks[0])
	if err == nil {
		err = os.WriteFile(blocks[0], change(b), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

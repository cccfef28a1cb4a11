package xmppfront

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pushhub/core"
)

// Messages of about 100 bytes from one client to another, not stored.
func BenchmarkMessages(b *testing.B) {
	h := newHub(b, Options{PlainWithoutTLS: true})
	h.account("romeo", "montague")
	h.account("juliet", "capulet")
	from, to := h.login("romeo", "montague", "balcony"), h.login("juliet", "capulet", "chamber")
	to.available()
	for _, tt := range []struct{ name, typ string }{{"QoS0", "headline"}, {"QoS1", "chat"}} {
		b.Run(tt.name, func(b *testing.B) {
			text := fmt.Sprintf(`<message to='juliet@hub.example/chamber' type='%s'><body>%s</body></message>`, tt.typ, strings.Repeat("x", 40))
			got := int64(len(text) + len(` from='romeo@hub.example/balcony'`))
			const batch = 64
			chunk := []byte(strings.Repeat(text, batch))
			b.ReportAllocs()
			b.ResetTimer()
			for n := 0; n < b.N; n += batch {
				if _, err := from.conn.Write(chunk); err != nil {
					b.Fatal(err)
				}
				if _, err := io.CopyN(io.Discard, to.conn, got*batch); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkEventHead(b *testing.B) {
	h := newHub(b, Options{})
	b.ReportAllocs()
	for b.Loop() {
		m := core.Message{Topic: "plant/7/temp", Payload: []byte(`{"t":21.5,"unit":"C"}`), From: core.Address{Account: "romeo", Resource: "r"}}
		eventHead(h.front, &m)
	}
}

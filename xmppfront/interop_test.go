package xmppfront

import (
	"context"
	"crypto/tls"
	"encoding/xml"
	"net"
	"strings"
	"testing"
	"time"

	"mellium.im/sasl"
	"mellium.im/xmpp"
	"mellium.im/xmpp/disco"
	"mellium.im/xmpp/jid"
	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/pubsub"
	"mellium.im/xmpp/roster"
	"mellium.im/xmpp/stanza"
)

// Another implementation's client goes all the way: STARTTLS, SCRAM, bind, IQs, pubsub.
func TestMelliumClient(t *testing.T) {
	h := newHub(t, Options{TLS: testTLS(t)})
	h.account("romeo", "montague")
	for _, mechanism := range []sasl.Mechanism{sasl.ScramSha256, sasl.ScramSha1, sasl.Plain} {
		t.Run(mechanism.Name, func(t *testing.T) { melliumSession(t, h, mechanism) })
	}
}

func melliumSession(t *testing.T, h *hub, mechanism sasl.Mechanism) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	me := jid.MustParse("romeo@hub.example/balcony")
	s, err := xmpp.NewClientSession(ctx, me, conn,
		xmpp.StartTLS(&tls.Config{InsecureSkipVerify: true, ServerName: "hub.example"}),
		xmpp.SASL("", "montague", mechanism), xmpp.BindResource())
	if err != nil {
		t.Fatal(err)
	}
	if !s.LocalAddr().Bare().Equal(me.Bare()) || s.LocalAddr().Resourcepart() == "" { // this client asks for no resource
		t.Errorf("bound as %s", s.LocalAddr())
	}
	served := make(chan error, 1)
	go func() { served <- s.Serve(nil) }()
	if err := ping.Send(ctx, s, me.Domain()); err != nil {
		t.Errorf("ping: %v", err)
	}
	info, err := disco.GetInfo(ctx, "", jid.MustParse("pubsub.hub.example"), s)
	if err != nil || len(info.Identity) != 1 || info.Identity[0].Category != "pubsub" {
		t.Errorf("disco: %+v, %v", info, err)
	}
	items := roster.Fetch(ctx, s)
	if items.Next() || items.Err() != nil {
		t.Errorf("roster: %v", items.Err())
	}
	_ = items.Close()
	id, err := pubsub.PublishIQ(ctx, s, iqTo("pubsub.hub.example"), "plant/1", "i1", xml.NewDecoder(strings.NewReader("<x xmlns='u'>1</x>")))
	if err != nil || id != "i1" {
		t.Errorf("publish: %q, %v", id, err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if err := <-served; err != nil {
		t.Errorf("serve: %v", err)
	}
}

func iqTo(addr string) stanza.IQ { return stanza.IQ{Type: stanza.SetIQ, To: jid.MustParse(addr)} }

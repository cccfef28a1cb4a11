package integration

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"

	paho5 "github.com/eclipse/paho.golang/paho"
	"github.com/xdg-go/scram"

	"pushhub/integration/hubtest"
)

// The reason codes of MQTT 5 §3.15.2.1, and those that refuse.
const (
	authContinue      = 0x18
	authAgain         = 0x19
	badUserOrPassword = 0x86
	notAuthorized     = 0x87
)

// The methods that the hub has, under the names that SASL gives them.
var scramMethods = map[string]scram.HashGeneratorFcn{"SCRAM-SHA-1": scram.SHA1, "SCRAM-SHA-256": scram.SHA256}

// A scramHandler is paho's auth handler for an exchange after the other.
type scramHandler struct {
	method string
	user   string

	mu   sync.Mutex // guards what follows
	conv *scram.ClientConversation
	err  error
}

func (s *scramHandler) begin(t testing.TB, password string) []byte {
	t.Helper()
	client, err := scramMethods[s.method].NewClient(s.user, password, "")
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	s.conv = client.NewConversation()
	s.mu.Unlock()
	return s.step(nil)
}

func (s *scramHandler) step(challenge []byte) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	out, err := s.conv.Step(string(challenge))
	if err != nil {
		s.err = err
	}
	return []byte(out)
}

// proved checks the hub's last message: that it knows the account as well.
func (s *scramHandler) proved(t testing.TB, last []byte) {
	t.Helper()
	s.step(last)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err != nil || !s.conv.Valid() {
		t.Fatalf("the hub's last message %q is no proof: %v", last, s.err)
	}
}

func (s *scramHandler) Authenticate(a *paho5.Auth) *paho5.Auth {
	out := s.step(a.Properties.AuthData)
	return &paho5.Auth{ReasonCode: authContinue, Properties: &paho5.AuthProperties{AuthMethod: s.method, AuthData: out}}
}

func (s *scramHandler) Authenticated() {}

// dialSCRAM logs in by an exchange; the CONNACK may refuse.
func dialSCRAM(t testing.TB, h *hubtest.Hub, s *scramHandler, password string) (*paho5.Client, *paho5.Connack, error) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", h.MQTT, hubtest.Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	client := paho5.NewClient(paho5.ClientConfig{Conn: conn, PacketTimeout: hubtest.Patience, AuthHandler: s})
	ctx, cancel := patience(t)
	defer cancel()
	ack, err := client.Connect(ctx, &paho5.Connect{
		ClientID: "device", KeepAlive: 60, CleanStart: true,
		Properties: &paho5.ConnectProperties{AuthMethod: s.method, AuthData: s.begin(t, password)},
	})
	return client, ack, err
}

func publishAs(t testing.TB, client *paho5.Client, topic string, payload []byte) {
	t.Helper()
	ctx, cancel := patience(t)
	defer cancel()
	if _, err := client.Publish(ctx, &paho5.Publish{Topic: topic, Payload: payload, QoS: 1}); err != nil {
		t.Fatalf("publishing to %s: %v", topic, err)
	}
}

func TestLoginBySCRAM(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("romeo", "juliet")
	listener := connectPahoGo5(t, h, mqttOptions{User: "juliet", Client: "balcony"})
	listener.Subscribe("$inbox/juliet/#", 1)
	for method := range scramMethods {
		t.Run(method, func(t *testing.T) {
			s := &scramHandler{method: method, user: "romeo"}
			client, ack, err := dialSCRAM(t, h, s, hubtest.Password)
			if err != nil {
				t.Fatal(err)
			}
			if ack.Properties.AuthMethod != method {
				t.Errorf("CONNACK names the method %q", ack.Properties.AuthMethod)
			}
			s.proved(t, ack.Properties.AuthData)
			payload := []byte("by " + method)
			publishAs(t, client, "$inbox/juliet/romeo", payload) // which romeo alone may
			listener.Await("message", exactly("$inbox/juliet/romeo", payload))
			_ = client.Disconnect(&paho5.Disconnect{})
		})
	}
}

func TestRefusedLoginsBySCRAM(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("romeo")
	for _, c := range []struct{ user, password string }{{"romeo", "wrong"}, {"nobody", hubtest.Password}} {
		t.Run(c.user+" "+c.password, func(t *testing.T) {
			_, ack, err := dialSCRAM(t, h, &scramHandler{method: "SCRAM-SHA-256", user: c.user}, c.password)
			if err == nil || ack == nil || ack.ReasonCode != badUserOrPassword {
				t.Fatalf("the hub answered %+v, %v; want a refusal", ack, err)
			}
		})
	}
}

func TestReauthenticationBySCRAM(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t)
	h.AddUser("romeo")
	listener := connectPahoGo5(t, h, mqttOptions{User: "romeo", Client: "listener"})
	listener.Subscribe("news", 1)
	s := &scramHandler{method: "SCRAM-SHA-256", user: "romeo"}
	client, ack, err := dialSCRAM(t, h, s, hubtest.Password)
	if err != nil {
		t.Fatal(err)
	}
	s.proved(t, ack.Properties.AuthData)
	again := func(password string) *paho5.AuthResponse {
		ctx, cancel := context.WithTimeout(t.Context(), hubtest.Patience)
		defer cancel()
		r, err := client.Authenticate(ctx, &paho5.Auth{
			ReasonCode: authAgain,
			Properties: &paho5.AuthProperties{AuthMethod: s.method, AuthData: s.begin(t, password)},
		})
		if err != nil {
			t.Fatalf("authenticating again: %v", err)
		}
		return r
	}
	for i := range 3 {
		r := again(hubtest.Password)
		if !r.Success {
			t.Fatalf("authentication %d on the live connection: %+v", i+1, r)
		}
		payload := fmt.Append(nil, "after ", i)
		publishAs(t, client, "news", payload)
		listener.Await("message", exactly("news", payload))
	}
	if r := again("wrong"); r.Success || r.ReasonCode != notAuthorized {
		t.Fatalf("a wrong password on the live connection: %+v", r)
	}
}

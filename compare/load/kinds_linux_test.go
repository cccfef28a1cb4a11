package load

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"
)

// runOf measures one scenario once on a broker in this process.
func runOf(t *testing.T, scenario string, target Target) []Run {
	t.Helper()
	target.Name, target.PID = "own", os.Getpid()
	report, err := Bench(t.Context(), shortOptions(t, scenario, target))
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Runs {
		if r.Lost != 0 || r.Duplicates != 0 || r.Scenario != scenario || r.ServerCPU <= 0 || r.Seconds <= 0 {
			t.Errorf("%+v", r)
		}
	}
	return report.Runs
}

func TestConnectionsAreCountedWhenAdmitted(t *testing.T) {
	s, addr := startMochiServer(t)
	r := runOf(t, "connect-3", Target{Addr: addr})[0]
	if r.Delivered == 0 || r.Sent < r.Delivered || r.P50 <= 0 || r.P999 < r.P50 {
		t.Errorf("%+v", r)
	}
	if n := s.Info.Clone().MessagesReceived; n != 0 {
		t.Errorf("%d messages went with them", n)
	}
}

func TestConnectionsThatAreRefusedFailTheRun(t *testing.T) {
	o := shortOptions(t, "connect-2", Target{Name: "own", Addr: relayFor(t, &relay{connack: 5})})
	if _, err := Bench(t.Context(), o); err == nil || !strings.Contains(err.Error(), "not authorized") {
		t.Errorf("error %v", err)
	}
}

func TestIdleConnectionsAreHeldWhileMemoryIsRead(t *testing.T) {
	s, addr := startMochiServer(t)
	r := runOf(t, "idle-20", Target{Addr: addr})[0]
	if r.Delivered != 20 || r.RSSBefore <= 0 || r.RSSAfter <= 0 {
		t.Errorf("%+v", r)
	}
	if most := s.Info.Clone().ClientsMaximum; most != 20 {
		t.Errorf("at most %d clients were there at once", most)
	}
}

func TestIdleConnectionsOverTLS(t *testing.T) {
	addr := startMochi(t)
	r := runOf(t, "idle-5-tls", Target{Addr: addr, TLSAddr: startTLSFront(t, addr)})[0]
	if r.Delivered != 5 {
		t.Errorf("%+v", r)
	}
}

func TestATargetWithoutTLSIsLeftOut(t *testing.T) {
	addr := startMochi(t)
	o := shortOptions(t, "idle-2-tls",
		Target{Name: "plain", Addr: addr, PID: os.Getpid()},
		Target{Name: "secure", Addr: addr, TLSAddr: startTLSFront(t, addr), PID: os.Getpid()})
	report, err := Bench(t.Context(), o)
	if err != nil || len(report.Runs) != 1 || report.Runs[0].Target != "secure" {
		t.Errorf("%+v, error %v", report.Runs, err)
	}
}

func TestConnectionsThatTheBrokerEndsAreNoticed(t *testing.T) {
	s, addr := startMochiServer(t)
	c, err := openCrowd(t.Context(), &server{addr: addr}, Scenario{Kind: Idle, Count: 3}, Login{})
	defer c.close()
	if err != nil || c.gone() != 0 {
		t.Fatalf("%d are gone, error %v", c.gone(), err)
	}
	for _, client := range s.Clients.GetAll() {
		client.Stop(io.EOF)
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(5 * time.Second); c.gone() != 3; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d of 3 are gone", c.gone())
		}
	}
}

func TestMessagesAreMeasuredBesideSubscriptions(t *testing.T) {
	s, addr := startMochiServer(t)
	if r := runOf(t, "subs-777", Target{Addr: addr})[0]; r.Delivered == 0 {
		t.Errorf("%+v", r)
	}
	if n := s.Info.Clone().MessagesDropped; n != 0 {
		t.Errorf("%d messages were dropped", n)
	}
}

func TestAllSubscriptionsAreMadeAndMatchNothing(t *testing.T) {
	s, addr := startMochiServer(t)
	held, err := holdSubscriptions(t.Context(), addr, "x", 1234, Login{})
	for _, conn := range held {
		defer conn.Close()
	}
	if err != nil || len(held) != holders {
		t.Fatalf("%d holders, error %v", len(held), err)
	}
	if n := s.Info.Clone().Subscriptions; n != 1234 {
		t.Errorf("%d subscriptions", n)
	}
	if got := s.Topics.Subscribers("bench/x/3"); len(got.Subscriptions) != 0 {
		t.Errorf("a message would go to %d of them", len(got.Subscriptions))
	}
}

func TestOfflineMessagesAreStoredAndDrained(t *testing.T) {
	runs := runOf(t, "offline-7-9", Target{Addr: startMochi(t)})
	if len(runs) != 2 || runs[0].Phase != "store" || runs[1].Phase != "drain" {
		t.Fatalf("%+v", runs)
	}
	for _, r := range runs {
		if r.Delivered != 63 || r.Sent != 63 {
			t.Errorf("%+v", r)
		}
	}
}

func TestABrokerThatForgetsSessionsFailsTheOfflineRun(t *testing.T) {
	o := shortOptions(t, "offline-2-3", Target{Name: "own", Addr: startBareRelay(t), PID: os.Getpid()})
	o.Runs = 3
	report, err := Bench(t.Context(), o) // which does not try again: the broker was a new one
	if err == nil || !strings.Contains(err.Error(), "forgotten") || len(report.Runs) != 1 {
		t.Errorf("%+v, error %v", report.Runs, err)
	}
}

func TestTheBareRelayCarriesEveryShape(t *testing.T) {
	addr := startBareRelay(t)
	for _, scenario := range []string{
		"q0-1-1", "q0-5-5", "q0-4-1", "q0-1-4", "q1-3-3", "q1p-3-3", "q1-1-4", "q2-2-2", "q2-1-3",
		"q0-2-2@2000", "q1-3-3/1", "connect-5", "idle-5", "subs-10",
	} {
		if r := runOf(t, scenario, Target{Addr: addr})[0]; r.Delivered == 0 || r.Reordered != 0 {
			t.Errorf("%+v", r)
		}
	}
}

func TestTheBareRelayKeepsToLoopback(t *testing.T) {
	if err := Relay(t.Context(), "0.0.0.0:0"); err == nil {
		t.Error("it would serve the network")
	}
}

func startBareRelay(t *testing.T) string {
	t.Helper()
	ports, err := freePorts()
	if err != nil {
		t.Fatal(err)
	}
	addr := "127.0.0.1:" + ports[0]
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1) // the relay's goroutine sends once
	go func() { ended <- Relay(ctx, addr) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	s := &server{addr: addr, proc: &process{}} // as one that bench started: it may need time
	if err := s.await(t.Context()); err != nil {
		t.Fatal(err)
	}
	return addr
}

// startTLSFront terminates TLS before addr.
func startTLSFront(t *testing.T, addr string) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	cert := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{cert}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			front, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer front.Close()
				back, err := net.Dial("tcp", addr)
				if err != nil {
					return
				}
				defer back.Close()
				go io.Copy(front, back)
				io.Copy(back, front)
			}()
		}
	}()
	return l.Addr().String()
}

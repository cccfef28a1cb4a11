package wire

import (
	"crypto/tls"
	"net"
	"sync"
	"testing"
)

// The certificate that a connection tells of is the one that its peer was shown, by
// whatever way it was chosen.
func TestCertificateIsTheOneShown(t *testing.T) {
	one, other := serverTLS(t).Certificates[0], serverTLS(t).Certificates[0]
	byName := func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "other.example" {
			return &other, nil
		}
		return &one, nil
	}
	for _, row := range []struct {
		name, ask string
		cfg       *tls.Config
		want      *tls.Certificate
	}{
		{"the only one", "", &tls.Config{Certificates: []tls.Certificate{one}}, &one},
		{"by a function", "other.example", &tls.Config{GetCertificate: byName}, &other},
		{"without a name", "", &tls.Config{GetCertificate: byName}, &one},
		{"by a function before the list", "other.example", &tls.Config{GetCertificate: byName, Certificates: []tls.Certificate{one}}, &other},
		{"by the list where there is no name", "", &tls.Config{GetCertificate: byName, Certificates: []tls.Certificate{other}}, &other},
		{"by another configuration", "x.example", &tls.Config{
			Certificates: []tls.Certificate{one},
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
				return &tls.Config{Certificates: []tls.Certificate{other}}, nil
			},
		}, &other},
		{"by no other configuration", "x.example", &tls.Config{
			Certificates:       []tls.Certificate{one},
			GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, nil },
		}, &one},
	} {
		t.Run(row.name, func(t *testing.T) {
			row.cfg.MinVersion = tls.VersionTLS12
			s, addr := serveTLS(t, row.cfg)
			c, h := greet(t, s, addr, &tls.Config{InsecureSkipVerify: true, ServerName: row.ask}) //nolint:gosec // a throwaway certificate
			shown := c.ConnectionState().PeerCertificates[0]
			if got := h.conn.Certificate(); got == nil || !got.Equal(shown) {
				t.Errorf("the connection tells of %v", got)
			}
			if string(shown.Raw) != string(row.want.Certificate[0]) {
				t.Errorf("another certificate was shown")
			}
		})
	}
}

func TestNoCertificateIsShownWhereASessionGoesOn(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			s, addr := serveTLS(t, serverTLS(t))
			cfg := &tls.Config{InsecureSkipVerify: true, MaxVersion: version, ServerName: "x.example", ClientSessionCache: tls.NewLRUClientSessionCache(1)} //nolint:gosec // a throwaway certificate
			first, h := greet(t, s, addr, cfg)
			if h.conn.Certificate() == nil {
				t.Error("no certificate was shown at first")
			}
			first.Close()
			second, h := greet(t, s, addr, cfg)
			if !second.ConnectionState().DidResume {
				t.Fatal("the session did not go on")
			}
			if got := h.conn.Certificate(); got != nil {
				t.Errorf("the connection tells of %v", got.Subject)
			}
		})
	}
}

func TestPlainConnectionShowsNoCertificate(t *testing.T) {
	s := serve(t, Options{TLS: serverTLS(t)}, echoLines)
	c := s.dial(t)
	write(t, c, "line\n")
	expect(t, c, "line\n")
	if h := <-s.handlers; h.conn.Certificate() != nil {
		t.Error("it tells of one")
	}
}

// serveTLS serves connections that begin with TLS.
func serveTLS(t *testing.T, cfg *tls.Config) (s *server, addr string) {
	t.Helper()
	s = serve(t, Options{TLS: cfg}, echoLines)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = s.ServeTLS(ln) })
	t.Cleanup(done.Wait)
	t.Cleanup(func() { ln.Close() })
	return s, ln.Addr().String()
}

// greet connects, and has a line echoed: the handshake is done, and its tickets have come.
func greet(t *testing.T, s *server, addr string, cfg *tls.Config) (*tls.Conn, *peerHandler) {
	t.Helper()
	c, err := tls.Dial("tcp", addr, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	write(t, c, "line\n")
	expect(t, c, "line\n")
	return c, <-s.handlers
}

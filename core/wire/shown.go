package wire

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"sync/atomic"
)

// A showing is what is under TLS. It knows which certificate the peer was shown:
// crypto/tls does not tell, and a name alone does not decide which it is.
type showing struct {
	net.Conn
	cert atomic.Pointer[tls.Certificate]
}

// secure makes a TLS connection of nc. cfg is one that notes made.
func secure(nc net.Conn, cfg *tls.Config) *tls.Conn { return tls.Server(&showing{Conn: nc}, cfg) }

var errNoCertificate = errors.New("wire: there is no certificate")

// notes returns a copy of a configuration that chooses the same certificates, and
// has their connections note them; nil of nil.
func notes(cfg *tls.Config) *tls.Config {
	if cfg == nil {
		return nil
	}
	noting := cfg.Clone()
	noting.Certificates = nil // all go through the function
	noting.GetCertificate = func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		cert, err := choose(cfg, hello)
		if s, ok := hello.Conn.(*showing); ok && err == nil {
			s.cert.Store(cert)
		}
		return cert, err
	}
	if other := cfg.GetConfigForClient; other != nil {
		noting.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			its, err := other(hello)
			return notes(its), err
		}
	}
	return noting
}

// choose finds the certificate as crypto/tls does.
func choose(cfg *tls.Config, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if cfg.GetCertificate != nil && (len(cfg.Certificates) == 0 || hello.ServerName != "") {
		if cert, err := cfg.GetCertificate(hello); cert != nil || err != nil {
			return cert, err
		}
	}
	if len(cfg.Certificates) == 0 {
		return nil, errNoCertificate
	}
	for i := range cfg.Certificates {
		if hello.SupportsCertificate(&cfg.Certificates[i]) == nil {
			return &cfg.Certificates[i], nil
		}
	}
	return &cfg.Certificates[0], nil
}

// Certificate is the one that the peer was shown in the handshake; nil where there
// is no TLS, or none was shown because an earlier TLS session goes on.
func (c *Conn) Certificate() *x509.Certificate {
	t := c.tls.Load()
	if t == nil || t.ConnectionState().DidResume {
		return nil
	}
	s, ok := t.NetConn().(*showing)
	if !ok {
		return nil
	}
	cert := s.cert.Load()
	switch {
	case cert == nil || len(cert.Certificate) == 0:
		return nil
	case cert.Leaf != nil:
		return cert.Leaf
	}
	leaf, err := x509.ParseCertificate(cert.Certificate[0])
	if err != nil {
		return nil
	}
	return leaf
}

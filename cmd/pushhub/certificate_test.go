package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"pushhub/config"
)

// An authority signs certificates for tests.
type authority struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	a := &authority{t: t, key: key, pool: x509.NewCertPool()}
	if a.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a certificate for a server and for a client of that name.
func (a *authority) sign(name string) (cert tls.Certificate) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// write puts a certificate and its key where settings can name them.
func (a *authority) write(cert, key, name string) {
	a.t.Helper()
	pair := a.sign(name)
	secret, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err == nil {
		err = writePEM(key, "PRIVATE KEY", secret)
	}
	if err == nil {
		err = writePEM(cert, "CERTIFICATE", pair.Certificate[0])
	}
	if err != nil {
		a.t.Fatal(err)
	}
}

func (a *authority) writeCA(path string) {
	a.t.Helper()
	if err := writePEM(path, "CERTIFICATE", a.cert.Raw); err != nil {
		a.t.Fatal(err)
	}
}

// touch makes a file look newer than it was, on file systems with coarse clocks too.
func touch(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		later := time.Now().Add(time.Minute)
		if err := os.Chtimes(path, later, later); err != nil {
			t.Fatal(err)
		}
	}
}

// shake is one handshake; it returns both ends' states after a byte each way.
func shake(t *testing.T, server, client *tls.Config) (atServer, atClient tls.ConnectionState, err error) {
	t.Helper()
	a, b := connected(t)
	defer a.Close()
	defer b.Close()
	if err := errors.Join(a.SetDeadline(time.Now().Add(10*time.Second)), b.SetDeadline(time.Now().Add(10*time.Second))); err != nil {
		t.Fatal(err)
	}
	s, c := tls.Server(a, server), tls.Client(b, client)
	served := make(chan error, 1)
	go func() {
		_, err := io.CopyN(s, s, 1)
		if err != nil {
			a.Close()
		}
		served <- err
	}()
	_, err = c.Write([]byte("x"))
	if err == nil {
		_, err = io.ReadFull(c, make([]byte, 1)) // tickets come before it
	}
	if err != nil {
		b.Close()
	}
	return s.ConnectionState(), c.ConnectionState(), errors.Join(err, <-served)
}

// connected makes two ends of a connection. A pipe would not do: both sides may write first.
func connected(t *testing.T) (server, client net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if client, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if server, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return server, client
}

// files of a test, by name.
func files(t *testing.T) func(string) string {
	dir := t.TempDir()
	return func(name string) string { return filepath.Join(dir, name) }
}

func newTestKeyring(t *testing.T, settings config.TLS) *keyring {
	t.Helper()
	cfg := config.Default()
	cfg.DataDir = t.TempDir()
	if settings.ClientAuth == "" {
		settings.ClientAuth = "off"
	}
	cfg.TLS = settings
	k, err := newKeyring(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func TestCertificateIsChosenByName(t *testing.T) {
	a, in := newAuthority(t), files(t)
	a.write(in("a.pem"), in("a.key"), "a.example")
	a.write(in("b.pem"), in("b.key"), "b.example")
	server := newTestKeyring(t, config.TLS{Cert: in("a.pem"), Key: in("a.key"), MoreCerts: []string{in("b.pem") + ":" + in("b.key")}}).config("mqtt")
	for _, c := range []struct{ asked, shown string }{
		{"a.example", "a.example"}, {"b.example", "b.example"}, {"c.example", "a.example"}, {"", "a.example"},
	} {
		_, seen, err := shake(t, server, &tls.Config{ServerName: c.asked, InsecureSkipVerify: true}) //nolint:gosec // the name is looked at below
		if err != nil {
			t.Fatal(err)
		}
		if shown := seen.PeerCertificates[0].Subject.CommonName; shown != c.shown {
			t.Errorf("asked for %q: shown %q, want %q", c.asked, shown, c.shown)
		}
	}
}

func TestOldVersionsOfTLSAndOtherProtocolsAreRefused(t *testing.T) {
	server := newTestKeyring(t, config.TLS{}).config("mqtt")
	for _, c := range []struct {
		name   string
		client *tls.Config
		good   bool
	}{
		{"TLS 1.1", &tls.Config{MaxVersion: tls.VersionTLS11, MinVersion: tls.VersionTLS10}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
		{"TLS 1.3", &tls.Config{MinVersion: tls.VersionTLS13}, true},
		{"the listener's protocol", &tls.Config{NextProtos: []string{"mqtt"}}, true},
		{"a browser's protocol", &tls.Config{NextProtos: []string{"http/1.1"}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.client.InsecureSkipVerify = true
			if _, _, err := shake(t, server, c.client); (err == nil) != c.good {
				t.Error(err)
			}
		})
	}
}

func TestSessionIsResumed(t *testing.T) {
	a, in := newAuthority(t), files(t)
	a.writeCA(in("ca.pem"))
	server := newTestKeyring(t, config.TLS{ClientCA: in("ca.pem"), ClientAuth: "required"}).config("mqtt")
	client := &tls.Config{
		ServerName: "localhost", InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(1), //nolint:gosec // self-signed
		Certificates: []tls.Certificate{a.sign("phone")},
	}
	for i, resumed := range []bool{false, true, true} {
		atServer, _, err := shake(t, server, client)
		if err != nil {
			t.Fatal(err)
		}
		if atServer.DidResume != resumed {
			t.Errorf("connection %d: resumed is %v", i, atServer.DidResume)
		}
		// What a resumed session was vouched for still is.
		if len(atServer.VerifiedChains) == 0 || atServer.PeerCertificates[0].Subject.CommonName != "phone" {
			t.Errorf("connection %d: the client's certificate is not there", i)
		}
	}
}

func TestChangedFilesAreReadAgain(t *testing.T) {
	a, other, in := newAuthority(t), newAuthority(t), files(t)
	a.write(in("a.pem"), in("a.key"), "old.example")
	a.write(in("b.pem"), in("b.key"), "b.example")
	a.writeCA(in("ca.pem"))
	k := newTestKeyring(t, config.TLS{
		Cert: in("a.pem"), Key: in("a.key"), MoreCerts: []string{in("b.pem") + ":" + in("b.key")},
		ClientCA: in("ca.pem"), ClientAuth: "required",
	})
	server := k.config("mqtt")
	shown := func(name string, client *authority) string {
		t.Helper()
		//nolint:gosec // the name is looked at
		_, seen, err := shake(t, server, &tls.Config{ServerName: name, InsecureSkipVerify: true, Certificates: []tls.Certificate{client.sign("phone")}})
		if err != nil {
			return "refused"
		}
		return seen.PeerCertificates[0].Subject.CommonName
	}
	want := func(name string, client *authority, cert string) {
		t.Helper()
		if got := shown(name, client); got != cert {
			t.Errorf("asked for %s: shown %s, want %s", name, got, cert)
		}
	}
	want("", a, "old.example")
	want("", other, "refused")

	a.write(in("a.pem"), in("a.key"), "new.example")
	touch(t, in("a.pem"), in("a.key"))
	want("", a, "old.example") // it was looked at just now
	k.reload()
	want("", a, "new.example")

	a.write(in("b.pem"), in("b.key"), "c.example")
	touch(t, in("b.pem"), in("b.key"))
	k.looked.Store(time.Now().Add(-2 * lookAgain).UnixNano())
	want("c.example", a, "c.example")

	other.writeCA(in("ca.pem"))
	touch(t, in("ca.pem"))
	k.reload()
	want("", a, "refused")
	want("", other, "new.example")

	if err := os.WriteFile(in("b.key"), []byte("half a key"), 0o600); err != nil {
		t.Fatal(err)
	}
	k.reload()
	want("c.example", other, "c.example") // as before
}

func TestUnixSocketTakesThePlaceOfADeadOneOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	first, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("mode %v, %v; want 0660", info.Mode(), err)
	}
	if _, err := listenUnix(path); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a socket in use was taken: %v", err)
	}
	first.(*net.UnixListener).SetUnlinkOnClose(false) // it dies
	first.Close()
	second, err := listenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	second.Close()
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := listenUnix(path); err == nil || !strings.Contains(err.Error(), "not a socket") {
		t.Errorf("a file was taken: %v", err)
	}
}

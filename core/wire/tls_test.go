package wire

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"sync"
	"testing"
	"time"

	"pushhub/core"
)

func TestStartTLS(t *testing.T) {
	upgrade := func(h *peerHandler, b *core.Batch, data []byte) (int, error) {
		if h.conn.TLS() != nil {
			return echoLines(h, b, data)
		}
		n := bytes.IndexByte(data, '\n') + 1
		if n == 0 {
			return 0, nil
		}
		h.send(b, []byte("proceed\n"))
		return n, ErrStartTLS
	}
	s := serve(t, Options{TLS: serverTLS(t)}, upgrade)

	c := s.dial(t)
	write(t, c, "starttls\n")
	expect(t, c, "proceed\n")
	secure := tls.Client(c, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
	write(t, secure, "one\ntwo\n")
	expect(t, secure, "one\ntwo\n")
	<-s.handlers

	injecting := s.dial(t)
	write(t, injecting, "starttls\nsteal the session\n")
	h := <-s.handlers
	if err := <-h.closed; !errors.Is(err, ErrInjected) {
		t.Errorf("closed because of %v, want ErrInjected", err)
	}
}

func TestServeTLS(t *testing.T) {
	s := serve(t, Options{TLS: serverTLS(t), QueueBytes: 4 << 20}, echoLines)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	done.Go(func() { _ = s.ServeTLS(ln) })
	t.Cleanup(done.Wait)
	t.Cleanup(func() { ln.Close() })
	c, err := tls.Dial("tcp", ln.Addr().String(), &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // a throwaway certificate
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	line := append(bytes.Repeat([]byte("x"), 1<<20), '\n')
	var reading sync.WaitGroup
	got := make([]byte, len(line))
	reading.Go(func() { _, err = io.ReadFull(c, got) })
	write(t, c, string(line))
	reading.Wait()
	if err != nil || !bytes.Equal(got, line) {
		t.Fatalf("the echo differs: %v", err)
	}
}

func serverTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, MinVersion: tls.VersionTLS12}
}

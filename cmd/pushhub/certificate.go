package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"pushhub/config"
)

// lifetime of a self-signed certificate.
const lifetime = 10 * 365 * 24 * time.Hour

// A certificate is the hub's, read again when its file has changed.
type certificate struct {
	cert, key string // PEM files
	own       bool   // made by us when missing
	hosts     []string

	mu     sync.Mutex // guards what follows
	loaded *tls.Certificate
	stamp  time.Time // of the file that was loaded
	looked time.Time // when the file was looked at last
}

func newCertificate(cfg config.Config) *certificate {
	c := &certificate{cert: cfg.TLS.Cert, key: cfg.TLS.Key}
	if c.cert == "" {
		c.own = true
		c.cert = filepath.Join(cfg.DataDir, "cert.pem")
		c.key = filepath.Join(cfg.DataDir, "key.pem")
		c.hosts = append([]string{cfg.Domain, "localhost", "127.0.0.1", "::1"}, cfg.DomainAliases...)
	}
	return c
}

// config loads the certificate, or makes a self-signed one, for both fronts.
func (c *certificate) config() (*tls.Config, error) {
	if c.own {
		if _, err := os.Stat(c.cert); errors.Is(err, fs.ErrNotExist) {
			if err := c.create(); err != nil {
				return nil, fmt.Errorf("making a self-signed certificate: %w", err)
			}
		}
	}
	if err := c.load(); err != nil {
		return nil, fmt.Errorf("reading the certificate: %w", err)
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 9325 §3.1.1
		NextProtos: []string{"xmpp-client", "mqtt"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return c.current(), nil
		},
	}, nil
}

// load reads the files.
func (c *certificate) load() error {
	info, err := os.Stat(c.cert)
	if err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.cert, c.key)
	if err != nil {
		return err
	}
	c.loaded, c.stamp = &pair, info.ModTime()
	return nil
}

// current is the certificate, renewed without a restart: a changed file is
// noticed within a minute; one that cannot be read leaves the old in place.
func (c *certificate) current() *tls.Certificate {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.looked) > time.Minute {
		c.looked = time.Now()
		if info, err := os.Stat(c.cert); err == nil && !info.ModTime().Equal(c.stamp) {
			_ = c.load()
		}
	}
	return c.loaded
}

func (c *certificate) create() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: c.hosts[0]},
		NotBefore: now.Add(-time.Hour), NotAfter: now.Add(lifetime),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, h := range c.hosts {
		if ip := net.ParseIP(h); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, h)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(c.cert), 0o700); err != nil {
		return err
	}
	// The key first: a certificate without its key would never be made again.
	if err := writePEM(c.key, "PRIVATE KEY", secret); err != nil {
		return err
	}
	return writePEM(c.cert, "CERTIFICATE", der)
}

func writePEM(path, kind string, der []byte) error {
	var b bytes.Buffer
	if err := pem.Encode(&b, &pem.Block{Type: kind, Bytes: der}); err != nil {
		return err
	}
	return os.WriteFile(path, b.Bytes(), 0o600)
}

// secret reads 32 random bytes from a file, which it makes when it is missing.
func secret(path string) ([]byte, error) {
	key, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		key = make([]byte, 32)
		if _, err = rand.Read(key); err == nil {
			err = os.WriteFile(path, key, 0o600)
		}
	}
	if err == nil && len(key) != 32 {
		err = fmt.Errorf("%s holds %d bytes instead of 32; remove it to have it made again", path, len(key))
	}
	if err != nil {
		return nil, fmt.Errorf("the secret key: %w", err)
	}
	return key, nil
}

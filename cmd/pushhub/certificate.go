package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/config"
)

// lookAgain is how often the files are looked at, while anybody connects.
const lookAgain = time.Minute

// A keyring is the hub's certificates and the authorities of its clients, read
// again when a file has changed.
type keyring struct {
	pairs []config.Pair // PEM files; the first is for clients that ask for no name of another
	ca    string        // PEM file; "": clients show no certificates
	auth  tls.ClientAuthType
	hosts []string
	log   *slog.Logger

	held   atomic.Pointer[keys]
	looked atomic.Int64 // when the files were looked at last, Unix nanoseconds
	change sync.Mutex   // held while files are read, which is what it is for
}

// keys are what was read at one time; they are replaced, never changed.
type keys struct {
	certs  []tls.Certificate
	ca     *x509.CertPool
	states []fileState
}

// A fileState tells a file from what it was.
type fileState struct {
	size int64
	time time.Time
}

func (s fileState) same(other fileState) bool {
	return s.size == other.size && s.time.Equal(other.time)
}

// clientAuth by the names that tls.client_auth takes. TLS checks what it is shown.
var clientAuth = map[string]tls.ClientAuthType{
	"off": tls.NoClientCert, "optional": tls.VerifyClientCertIfGiven, "required": tls.RequireAndVerifyClientCert,
}

// newKeyring reads the certificates, after making a self-signed one where none is named.
func newKeyring(cfg config.Config, log *slog.Logger) (*keyring, error) {
	k := &keyring{pairs: cfg.TLS.Pairs(), ca: cfg.TLS.ClientCA, auth: clientAuth[cfg.TLS.ClientAuth], log: log}
	if cfg.TLS.Cert == "" {
		k.pairs[0] = config.Pair{Cert: filepath.Join(cfg.DataDir, "cert.pem"), Key: filepath.Join(cfg.DataDir, "key.pem")}
		k.hosts = append([]string{cfg.Domain, "localhost", "127.0.0.1", "::1"}, cfg.DomainAliases...)
		if _, err := os.Stat(k.pairs[0].Cert); errors.Is(err, fs.ErrNotExist) {
			if err := k.create(); err != nil {
				return nil, fmt.Errorf("making a self-signed certificate: %w", err)
			}
		}
	}
	if err := k.load(); err != nil {
		return nil, err
	}
	return k, nil
}

// config is for a listener whose clients speak one of protocols (ALPN, RFC 7301).
func (k *keyring) config(protocols ...string) *tls.Config {
	base := &tls.Config{
		MinVersion: tls.VersionTLS12, // RFC 9325 §3.1.1
		NextProtos: protocols,
		ClientAuth: k.auth,
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			return k.current().choose(hello), nil
		},
	}
	if k.ca == "" {
		return base
	}
	base.ClientCAs = k.held.Load().ca
	base.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) {
		now := k.current().ca
		if now == base.ClientCAs {
			return nil, nil // the one that is there, whose tickets go on
		}
		other := base.Clone()
		other.ClientCAs, other.GetConfigForClient = now, nil
		return other, nil
	}
	return base
}

// choose finds the certificate for the name that a client asks for, and for what
// it can check; the first is for everybody else.
func (k *keys) choose(hello *tls.ClientHelloInfo) *tls.Certificate {
	for i := range k.certs {
		if hello.SupportsCertificate(&k.certs[i]) == nil {
			return &k.certs[i]
		}
	}
	return &k.certs[0]
}

// current is what counts now, renewed without a restart: a changed file is
// noticed within a minute; files that cannot be read leave the old in place.
func (k *keyring) current() *keys {
	last, now := k.looked.Load(), time.Now()
	if now.Sub(time.Unix(0, last)) > lookAgain && k.looked.CompareAndSwap(last, now.UnixNano()) {
		k.reload()
	}
	return k.held.Load()
}

// reload reads the files if any has changed.
func (k *keyring) reload() {
	states, err := k.look()
	if err == nil && slices.EqualFunc(states, k.held.Load().states, fileState.same) {
		return
	}
	if err == nil {
		err = k.load()
	}
	if err != nil {
		k.log.Warn("the certificates have changed and cannot be read; the old ones stay", "err", err)
		return
	}
	k.log.Info("the certificates were read again")
}

// load reads the files.
func (k *keyring) load() error {
	k.change.Lock()
	defer k.change.Unlock()
	// The states first: what changes meanwhile is read once more.
	states, err := k.look()
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	read := &keys{states: states}
	for _, p := range k.pairs {
		pair, err := tls.LoadX509KeyPair(p.Cert, p.Key)
		if err != nil {
			return fmt.Errorf("reading the certificate %s: %w", p.Cert, err)
		}
		read.certs = append(read.certs, pair)
	}
	if k.ca != "" {
		pems, err := os.ReadFile(k.ca)
		if err != nil {
			return fmt.Errorf("reading the authorities of clients: %w", err)
		}
		read.ca = x509.NewCertPool()
		if !read.ca.AppendCertsFromPEM(pems) {
			return fmt.Errorf("reading the authorities of clients: %s holds no certificate", k.ca)
		}
	}
	k.held.Store(read)
	k.looked.Store(time.Now().UnixNano())
	return nil
}

// look looks at all the files.
func (k *keyring) look() ([]fileState, error) {
	var states []fileState
	for _, path := range k.files() {
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		states = append(states, fileState{info.Size(), info.ModTime()})
	}
	return states, nil
}

func (k *keyring) files() []string {
	var files []string
	for _, p := range k.pairs {
		files = append(files, p.Cert, p.Key)
	}
	if k.ca != "" {
		files = append(files, k.ca)
	}
	return files
}

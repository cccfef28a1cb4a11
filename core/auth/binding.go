package auth

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
)

// The channel bindings that a connection may have.
const (
	BindingExporter = "tls-exporter"         // RFC 9266
	BindingEndPoint = "tls-server-end-point" // RFC 5929 §4
)

// plusSuffix marks the mechanisms that are bound to their channel. RFC 5802 §4
const plusSuffix = "-PLUS"

// The SCRAM mechanisms whose proof covers the TLS connection that it comes over:
// nobody in the middle can pass it on.
const (
	SHA1Plus   = SHA1 + plusSuffix
	SHA256Plus = SHA256 + plusSuffix
)

// A Binding is what only the two ends of one channel have in common.
type Binding struct {
	Type string // its unique prefix, RFC 5056 §2
	Data []byte
}

// Bindings are those of a TLS connection whose handshake is done, in the order of
// preference. leaf is the certificate that the client was shown; nil: it was shown
// none. A nil state has none.
func Bindings(state *tls.ConnectionState, leaf *x509.Certificate) []Binding {
	if state == nil {
		return nil
	}
	var all []Binding
	// RFC 9266 §3 wants more of TLS 1.2 than is known here.
	if state.Version >= tls.VersionTLS13 {
		if data, err := state.ExportKeyingMaterial("EXPORTER-Channel-Binding", nil, 32); err == nil {
			all = append(all, Binding{BindingExporter, data})
		}
	}
	if leaf == nil {
		return all
	}
	if h := endPointHash(leaf.SignatureAlgorithm); h != 0 {
		digest := h.New()
		digest.Write(leaf.Raw)
		all = append(all, Binding{BindingEndPoint, digest.Sum(nil)})
	}
	return all
}

// endPointHash is the hash of a certificate's signature, or SHA-256 in place of one
// that is broken. 0: the signature has no hash of its own, and there is no such
// binding. RFC 5929 §4.1
func endPointHash(a x509.SignatureAlgorithm) crypto.Hash {
	switch a {
	case x509.MD5WithRSA, x509.SHA1WithRSA, x509.DSAWithSHA1, x509.ECDSAWithSHA1,
		x509.SHA256WithRSA, x509.SHA256WithRSAPSS, x509.DSAWithSHA256, x509.ECDSAWithSHA256:
		return crypto.SHA256
	case x509.SHA384WithRSA, x509.SHA384WithRSAPSS, x509.ECDSAWithSHA384:
		return crypto.SHA384
	case x509.SHA512WithRSA, x509.SHA512WithRSAPSS, x509.ECDSAWithSHA512:
		return crypto.SHA512
	default: // MD2, and Ed25519, which signs without a hash
		return 0
	}
}

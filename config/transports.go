package config

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// maxSocketPath is the longest path of a unix socket, in bytes (sun_path, with its end).
const maxSocketPath = 107

// transports holds the settings of WebSocket, unix sockets and certificates to
// what they can mean.
func (ck *checker) transports() {
	ck.webSocket()
	if n := len(ck.MQTT.UnixListen); n > maxSocketPath {
		ck.fail("mqtt.unix_listen", fmt.Sprintf("a path of %d bytes is too long for a socket", n), fmt.Sprintf("write one of at most %d", maxSocketPath))
	}
	for _, more := range ck.TLS.MoreCerts {
		if cert, key, _ := strings.Cut(more, ":"); cert == "" || key == "" || strings.Contains(key, ":") {
			ck.fail("tls.more_certs", fmt.Sprintf("%q is not a certificate and its key", more), "write CERT:KEY, such as other.pem:other-key.pem")
		}
	}
	if len(ck.TLS.MoreCerts) > 0 && ck.TLS.Cert == "" {
		ck.fail("tls.more_certs", "there is no certificate for clients that ask for another name", "write tls.cert and tls.key as well")
	}
	ck.clientCertificates()
}

func (ck *checker) webSocket() {
	if p := ck.MQTT.WSPath; !strings.HasPrefix(p, "/") || strings.ContainsAny(p, "?# %\r\n") {
		ck.fail("mqtt.ws_path", fmt.Sprintf("%q is not a path", p), "write one such as mqtt.ws_path: /mqtt")
	}
	for _, origin := range ck.MQTT.WSOrigins {
		u, err := url.Parse(origin)
		page := err == nil && u.Host != "" && slices.Contains([]string{"http", "https"}, u.Scheme) && u.Scheme+"://"+u.Host == origin
		if origin != "*" && origin != "null" && !page {
			ck.fail("mqtt.ws_origins", fmt.Sprintf("%q is not an origin", origin), `write them as browsers do, such as https://app.example.org, or "*" for any`)
		}
	}
}

func (ck *checker) clientCertificates() {
	switch asked := ck.TLS.ClientAuth != off; {
	case asked && ck.TLS.ClientCA == "":
		ck.fail("tls.client_auth", "nobody is named whose certificates count", "write tls.client_ca as well")
	case !asked && ck.TLS.ClientCA != "":
		ck.fail("tls.client_ca", "clients are not asked for certificates", "write tls.client_auth: optional or required, or remove tls.client_ca")
	case !asked && ck.MQTT.CertUser != off:
		ck.fail("mqtt.cert_user", "clients are not asked for certificates", "write tls.client_auth: optional or required")
	}
}

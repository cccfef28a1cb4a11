package config

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"pushhub/core/auth"
)

// Check returns what is wrong with the settings taken together, each problem
// with the exact fix. A hub must not start while there are any. Insecure
// permits the ones about passwords and open doors, and no others.
func (c Config) Check() []Problem {
	ck := checker{Config: c}
	ck.domains()
	ck.admins()
	ck.listeners()
	ck.files()
	ck.bus()
	ck.sizes()
	ck.rules()
	if !c.Insecure {
		ck.openDoors()
	}
	return ck.problems
}

type checker struct {
	Config
	problems []Problem
}

func (ck *checker) fail(key, text, fix string) {
	ck.problems = append(ck.problems, Problem{Where: ck.Where(key), Key: key, Text: text, Fix: fix})
}

func (ck *checker) domains() {
	if why := badDomain(ck.Domain); why != "" {
		ck.fail("domain", fmt.Sprintf("%q is not a domain: %s", ck.Domain, why), "write a host name such as domain: push.example.org")
	}
	for i, alias := range ck.DomainAliases {
		if why := badDomain(alias); why != "" {
			ck.fail("domain_aliases", fmt.Sprintf("%q is not a domain or address: %s", alias, why), "write host names or literal addresses")
		}
		if strings.EqualFold(alias, ck.Domain) || slices.ContainsFunc(ck.DomainAliases[:i], func(d string) bool { return strings.EqualFold(d, alias) }) {
			ck.fail("domain_aliases", fmt.Sprintf("%q is named twice", alias), "remove it")
		}
	}
}

// admins checks addresses as XEP-0157 §2 has them.
func (ck *checker) admins() {
	for _, address := range ck.XMPP.AdminAddresses {
		if u, err := url.Parse(address); err != nil || u.Scheme == "" || !utf8.ValidString(address) {
			ck.fail("xmpp.admin_addresses", fmt.Sprintf("%q is not a URI", address), "write URIs such as mailto:admin@example.org or xmpp:admin@example.org")
		}
	}
}

// badDomain says why a domainpart (RFC 7622 §3.2) is unusable, or "".
func badDomain(domain string) string {
	if domain == "" {
		return "it is empty"
	}
	if _, err := netip.ParseAddr(strings.Trim(domain, "[]")); err == nil {
		return ""
	}
	ascii, err := idna.Lookup.ToASCII(domain)
	if err != nil {
		return "it holds a character that host names may not have"
	}
	if len(ascii) > 253 {
		return "it is longer than 253 bytes"
	}
	for label := range strings.SplitSeq(ascii, ".") {
		if label == "" || len(label) > 63 {
			return "between its dots stand 1 to 63 characters"
		}
		if strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return "no part of it may begin or end with a hyphen"
		}
		if strings.IndexFunc(label, notLetterDigitHyphen) >= 0 {
			return "it may hold letters, digits, hyphens and dots"
		}
	}
	return ""
}

func notLetterDigitHyphen(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-')
}

// listener is one address to listen on.
type listener struct{ key, address, host, port string }

// open lists the listeners that are not closed.
func (c Config) open() []listener {
	var open []listener
	for _, l := range []listener{
		{key: "mqtt.listen", address: c.MQTT.Listen},
		{key: "mqtt.tls_listen", address: c.MQTT.TLSListen},
		{key: "mqtt.ws_listen", address: c.MQTT.WSListen},
		{key: "mqtt.wss_listen", address: c.MQTT.WSSListen},
		{key: "xmpp.listen", address: c.XMPP.Listen},
		{key: "xmpp.tls_listen", address: c.XMPP.TLSListen},
	} {
		if l.address != "" {
			open = append(open, l)
		}
	}
	return open
}

func (ck *checker) listeners() {
	open := ck.open()
	if len(open) == 0 && ck.MQTT.UnixListen == "" {
		ck.fail("mqtt.listen", "every listener is closed", "write at least one, such as mqtt.listen: 127.0.0.1:1883")
	}
	var good []listener
	for _, l := range open {
		host, port, err := net.SplitHostPort(l.address)
		n, perr := strconv.ParseUint(port, 10, 16)
		if err != nil || perr != nil {
			ck.fail(l.key, fmt.Sprintf("%q is not an address to listen on", l.address), `write host:port, such as "127.0.0.1:1883", ":1883" or "[::1]:1883"; "" closes the listener`)
			continue
		}
		if n == 0 {
			continue // any free port: never a clash
		}
		l.host, l.port = host, strconv.FormatUint(n, 10)
		for _, other := range good {
			if l.clashes(other) {
				ck.fail(l.key, fmt.Sprintf("%s is taken by %s (%s)", l.address, other.key, other.address), "give it another port, or close it with \"\"")
			}
		}
		good = append(good, l)
	}
}

// clashes reports whether two listeners want the same port of one address; an
// empty or unspecified host takes the port on all of them.
func (l listener) clashes(other listener) bool {
	if l.port != other.port {
		return false
	}
	return everywhere(l.host) || everywhere(other.host) || sameHost(l.host, other.host)
}

func everywhere(host string) bool {
	ip := net.ParseIP(host)
	return host == "" || ip != nil && ip.IsUnspecified()
}

func sameHost(a, b string) bool {
	if ipA, ipB := net.ParseIP(a), net.ParseIP(b); ipA != nil && ipB != nil {
		return ipA.Equal(ipB)
	}
	return strings.EqualFold(a, b)
}

// openDoors refuses what would let strangers in or passwords out.
func (ck *checker) openDoors() {
	const anyway = ", or insecure: true to accept the risk"
	for _, plain := range []struct{ key, address, instead string }{
		{"mqtt.listen", ck.MQTT.Listen, "mqtt.tls_listen"},
		{"mqtt.ws_listen", ck.MQTT.WSListen, "mqtt.wss_listen"},
	} {
		if exposed(plain.address) {
			ck.fail(plain.key, plain.address+" takes passwords from the network without TLS",
				"close it with "+plain.key+`: "" and let clients use `+plain.instead+", or keep it on 127.0.0.1"+anyway)
		}
	}
	if far := ck.firstExposed("mqtt."); far != "" && ck.AnonymousAllowed() {
		ck.fail("mqtt.anonymous", "anybody who reaches "+far+" may connect without a password", "write mqtt.anonymous: false"+anyway)
	}
	if far := ck.firstExposed("xmpp."); far != "" && ck.RegistrationOpen() {
		ck.fail("xmpp.registration", "anybody who reaches "+far+" may make an account", "write xmpp.registration: closed"+anyway)
	}
	if x := ck.XMPP.Listen; exposed(x) && ck.PlainWithoutTLSAllowed() {
		ck.fail("xmpp.plain_without_tls", x+" takes passwords from the network without TLS", "write xmpp.plain_without_tls: false"+anyway)
	}
}

// exposed reports whether others than this machine can reach a listener. An
// address that does not parse is a problem of its own.
func exposed(listen string) bool {
	_, _, err := net.SplitHostPort(listen)
	return err == nil && !loopback(listen)
}

// firstExposed is "key (address)" of the first listener under prefix that is
// not on loopback, or "".
func (ck *checker) firstExposed(prefix string) string {
	for _, l := range ck.open() {
		if strings.HasPrefix(l.key, prefix) && exposed(l.address) {
			return l.key + " (" + l.address + ")"
		}
	}
	return ""
}

func (ck *checker) files() {
	ck.pair("tls.cert", ck.TLS.Cert, "tls.key", ck.TLS.Key)
	ck.transports()
	ck.pair("nats.tls_cert", ck.NATS.TLSCert, "nats.tls_key", ck.NATS.TLSKey)
	if ck.DataDir == "" {
		ck.fail("data_dir", "it is empty", "write a directory, such as data_dir: ./pushhub-data")
	}
}

// pair holds a certificate to its key.
func (ck *checker) pair(certKey, cert, keyKey, key string) {
	if cert != "" && key == "" {
		ck.fail(certKey, "the certificate has no private key", "write "+keyKey+" as well, or remove "+certKey)
	}
	if key != "" && cert == "" {
		ck.fail(keyKey, "the private key has no certificate", "write "+certKey+" as well, or remove "+keyKey)
	}
}

func (ck *checker) bus() {
	if ck.NATS.URL == "" {
		ck.embeddedBus()
		return
	}
	for server := range strings.SplitSeq(ck.NATS.URL, ",") {
		u, err := url.Parse(strings.TrimSpace(server))
		// The server is not quoted: it may hold a password.
		if err != nil || u.Host == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			ck.fail("nats.url", "an entry is not the address of a NATS server", "write nats://host:4222 or tls://host:4222, several with commas")
		}
	}
}

// embeddedBus refuses settings that the embedded server would pass over.
func (ck *checker) embeddedBus() {
	for _, s := range []struct{ key, value string }{
		{"nats.creds", ck.NATS.Creds},
		{"nats.tls_ca", ck.NATS.TLSCA},
		{"nats.tls_cert", ck.NATS.TLSCert},
	} {
		if s.value != "" {
			ck.fail(s.key, "the embedded server does not use it", "write nats.url as well, or remove "+s.key)
		}
	}
	if ck.NATS.Replicas > 1 {
		ck.fail("nats.replicas", fmt.Sprintf("one embedded server cannot keep %d copies", ck.NATS.Replicas), "write nats.url of a cluster, or nats.replicas: 1")
	}
}

// maxPause is how many seconds a client may have to wait for its allowance: less
// than the keep alive that clients usually ask for.
const maxPause = 30

func (ck *checker) sizes() {
	if ck.Limits.QueueBytes < ck.MQTT.MaxPacketSize {
		ck.fail("limits.queue_bytes", fmt.Sprintf("%s cannot hold one packet of mqtt.max_packet_size (%s)", ck.Limits.QueueBytes, ck.MQTT.MaxPacketSize),
			"write limits.queue_bytes: "+ck.MQTT.MaxPacketSize.String())
	}
	largest := max(ck.MQTT.MaxPacketSize, ck.XMPP.MaxStanzaSize)
	if b := ck.Limits.PublishBytes; b != 0 && b < largest/maxPause {
		ck.fail("limits.publish_bytes", fmt.Sprintf("a client would not be read from for more than %d seconds after one packet or stanza of %s", maxPause, largest),
			"write limits.publish_bytes: "+(largest/maxPause+1).String()+" or more, lower mqtt.max_packet_size and xmpp.max_stanza_size, or write 0 for no limit")
	}
	if b := ck.Journal.MaxBytes; b != 0 && b < 16*ck.Journal.FrameBytes {
		ck.fail("journal.max_bytes", fmt.Sprintf("%s holds fewer than 16 frames of %s", b, ck.Journal.FrameBytes),
			"write journal.max_bytes: "+(16*ck.Journal.FrameBytes).String()+" or more, or 0 for no limit")
	}
}

func (ck *checker) rules() {
	for i, line := range ck.ACL.Rules {
		if _, err := auth.ParseRule(line); err != nil {
			ck.fail("acl.rules", fmt.Sprintf("rule %d: %v", i+1, err), `write rules such as "deny * publish plant/#"`)
		}
	}
}

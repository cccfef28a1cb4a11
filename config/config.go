// Package config owns the settings of a hub: what they are called, their
// defaults, where each value came from, and whether they make sense together.
// Flags win over PUSHHUB_* variables, those over the YAML file, and that over
// the defaults. It is strict: a key it does not know is an error, never
// ignored, and all problems are reported at once.
//
// It must never open a listener, log, or change what it is given; only cmd
// reads it, and hands each part of the program its own share.
package config

import (
	"net"
	"strings"
	"time"
)

// Config is every setting of a hub. Sizes are bytes. An empty listen address
// closes that listener. The zero value is of no use: begin with [Default] or
// [Load].
type Config struct {
	Domain        string   // the XMPP domain that accounts live in
	DomainAliases []string // other names and literal addresses that clients may give
	DataDir       string   // certificates and the embedded bus; relative to the working directory
	Insecure      bool     // permits what Check otherwise refuses

	Log     Log
	MQTT    MQTT
	XMPP    XMPP
	TLS     TLS
	NATS    NATS
	Journal Journal
	Limits  Limits
	ACL     ACL

	sources map[string]Source // key -> where its value came from; absent: default
}

// Log says how much is logged and how it is written.
type Log struct {
	Level  string // debug, info, warn, error
	Format string // text, json
}

// MQTT is the settings of the MQTT front.
type MQTT struct {
	Listen           string        // plain TCP
	TLSListen        string        // TLS
	WSListen         string        // WebSocket
	WSSListen        string        // WebSocket over TLS
	WSPath           string        // of both; other paths are not found
	WSOrigins        []string      // pages that may connect besides those of the same host; "*": all
	UnixListen       string        // path of a unix socket
	ProxyProtocol    string        // off, on: what comes to Listen and TLSListen begins with a PROXY header
	CertUser         string        // off, cn: what of a verified certificate names the account of a client that names none
	Anonymous        Auto          // clients without a user name; see Config.AnonymousAllowed
	MaxPacketSize    Size          // largest packet accepted
	MaxConnectSize   Size          // largest CONNECT
	ReceiveMax       int           // QoS 1 and 2 publishes in flight from one client
	TopicAliasMax    int           // topic aliases that a v5 client may set; 0: none
	MaxKeepalive     time.Duration // longest keepalive granted to v5 clients; 0: as they ask
	SessionExpiryMax time.Duration // longest life of a session without its client; the life of v3 persistent ones
	ConnectTimeout   time.Duration // from accept to CONNECT, and again for an enhanced authentication
	Redirect         string        // the server that v5 clients are sent to when this one stops
	SysInterval      time.Duration // how often $SYS is brought up to date; 0: there is no $SYS
}

// XMPP is the settings of the XMPP front.
type XMPP struct {
	Listen          string        // plain TCP with STARTTLS
	TLSListen       string        // direct TLS
	ProxyProtocol   string        // off, on: what comes to both begins with a PROXY header
	Registration    string        // auto, open, closed; see Config.RegistrationOpen
	PlainWithoutTLS Auto          // password logins before TLS; see Config.PlainWithoutTLSAllowed
	ChannelBinding  bool          // offer SCRAM logins that are bound to their TLS connection
	MaxStanzaSize   Size          // largest stanza accepted
	LoginTimeout    time.Duration // from accept to the bound resource
	AdminAddresses  []string      // URIs of those who run the hub, shown to everybody
}

// TLS names the certificate; Cert and Key empty: a self-signed one in the data directory.
type TLS struct {
	Cert       string   // PEM file, the chain
	Key        string   // PEM file
	MoreCerts  []string // "CERT:KEY" for clients that ask for other names (SNI); see Pairs
	ClientCA   string   // PEM file: who signs the certificates of clients
	ClientAuth string   // off, optional, required
}

// Pair is the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// Pairs are the certificates, the first of which is for clients that ask for
// none of the names in any. A path in MoreCerts holds no colon.
func (t TLS) Pairs() []Pair {
	pairs := []Pair{{t.Cert, t.Key}}
	for _, more := range t.MoreCerts {
		cert, key, _ := strings.Cut(more, ":")
		pairs = append(pairs, Pair{cert, key})
	}
	return pairs
}

// NATS is the bus underneath.
type NATS struct {
	URL      string // comma-separated servers; empty: an embedded server
	Creds    string // credentials file
	TLSCA    string // PEM file
	TLSCert  string // PEM file
	TLSKey   string // PEM file
	Replicas int    // copies of the journal
	Sync     Sync   // when the embedded server syncs its disk
}

// Journal bounds what is kept for sessions that are away.
type Journal struct {
	MaxBytes   Size          // 0: no limit but the disk
	MaxAge     time.Duration // 0: no limit
	FrameBytes Size          // how much is packed into one append
}

// Limits bounds memory.
type Limits struct {
	MaxConnections        int           // over all fronts
	QueueBytes            Size          // out-queue of one connection
	Window                int           // unacknowledged deliveries of one session
	OfflineMessages       int           // kept for one session that is away
	OfflineBytes          Size          // of them
	OfflineAge            time.Duration // of them; 0: as long as the journal keeps them
	Subscriptions         int           // filters of one session
	TopicBytes            int           // length of a topic name or filter
	TopicLevels           int           // levels of one
	ConnectionsPerAddress int           // of one front from one remote address; 0: no bound
	LoginDelay            time.Duration // longest delay after wrong passwords; 0: none
	ConnectRate           int           // connections a second that one front accepts; 0: no bound
	PublishRate           int           // messages a second that one connection may publish; 0: no bound
	PublishBytes          Size          // bytes a second of them; 0: no bound
}

// ACL is the access rules; auth.ParseRule describes one.
type ACL struct {
	Default string   // allow, deny: what no rule decides
	HideSys bool     // refuse $SYS to whom no rule allows it
	Rules   []string // in order, the first that matches decides
}

// AnonymousAllowed resolves mqtt.anonymous: auto is yes only while every MQTT
// listener is on loopback, and not there for a proxy, whose clients are anywhere.
func (c Config) AnonymousAllowed() bool {
	near := onLoopback(c.MQTT.Listen, c.MQTT.TLSListen, c.MQTT.WSListen, c.MQTT.WSSListen)
	return c.MQTT.Anonymous.Resolve(near && c.MQTT.ProxyProtocol == off)
}

// RegistrationOpen resolves xmpp.registration: auto is open only while every
// XMPP listener is on loopback, and not there for a proxy.
func (c Config) RegistrationOpen() bool {
	if c.XMPP.Registration == auto {
		return onLoopback(c.XMPP.Listen, c.XMPP.TLSListen) && c.XMPP.ProxyProtocol == off
	}
	return c.XMPP.Registration == "open"
}

// PlainWithoutTLSAllowed resolves xmpp.plain_without_tls: auto is yes only
// while the listener without TLS is on loopback, and not there for a proxy.
func (c Config) PlainWithoutTLSAllowed() bool {
	return c.XMPP.PlainWithoutTLS.Resolve(onLoopback(c.XMPP.Listen) && c.XMPP.ProxyProtocol == off)
}

// The choices of what is off unless it is wanted.
const (
	off = "off"
	on  = "on"
)

// Where names the place that set a key: "pushhub.yaml:12",
// "PUSHHUB_MQTT_LISTEN", "--mqtt.listen" or "default".
func (c Config) Where(key string) string {
	if s, ok := c.sources[key]; ok {
		return s.Place
	}
	return string(FromDefault)
}

// Source is where a value came from.
type Source struct {
	Kind  SourceKind
	Place string // file:line, variable or flag
}

// SourceKind is one of the four layers of settings.
type SourceKind string

// The layers, weakest first.
const (
	FromDefault SourceKind = "default"
	FromFile    SourceKind = "file"
	FromEnv     SourceKind = "env"
	FromFlag    SourceKind = "flag"
)

// onLoopback reports whether every listener that is open is on loopback.
func onLoopback(listeners ...string) bool {
	for _, l := range listeners {
		if l != "" && !loopback(l) {
			return false
		}
	}
	return true
}

// loopback does not resolve names: only localhost and literal addresses count.
func loopback(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") || ip != nil && ip.IsLoopback()
}

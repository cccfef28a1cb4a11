package mqttfront

import (
	"crypto/tls"
	"log/slog"
	"time"
)

// Options of a Front. A zero value stands for the default that is named.
type Options struct {
	// Anonymous lets clients without a user name in, as core.Anonymous.
	Anonymous bool
	// MaxPacketSize bounds the packets that clients may send, in bytes: 1 MiB.
	MaxPacketSize int
	// MaxConnectSize bounds CONNECT, and AUTH before CONNACK, which come from strangers, in bytes: 96 KiB, which
	// holds a will of 64 KiB and 32 KiB for all else.
	MaxConnectSize int
	// ReceiveMax is how many QoS 1 and 2 publications a client may have unanswered: 1024.
	ReceiveMax uint16
	// TopicAliasMax is how many topic aliases a client may set: 16; negative: none.
	TopicAliasMax int
	// MaxKeepalive lowers the keepalive that MQTT 5 clients ask for; 0: as they wish.
	MaxKeepalive time.Duration
	// SessionExpiryMax bounds how long a session outlives its connection, and is how
	// long persistent sessions of MQTT 3 do: 7 days.
	SessionExpiryMax time.Duration
	// ConnectTimeout is how long a client may take to send CONNECT, and again to
	// finish an enhanced authentication: 10 s.
	ConnectTimeout time.Duration
	// ScramKey is a secret of at least 16 bytes that outlives restarts: it keeps unknown
	// users from being told from known ones. Without it there is no enhanced authentication.
	ScramKey []byte
	// Redirect is the server that MQTT 5 clients are told to use when this one stops
	// or is drained, such as "hub2.example.org:1883"; empty: they are told of none.
	Redirect string
	// Moved says that Redirect is for good.
	Moved bool
	// MaxConns bounds the connections; 0: no bound but the system's.
	MaxConns int
	// ConnsPerAddress bounds those from one address; 0: no bound. See wire.Options.
	ConnsPerAddress int
	// ConnRate is how many connections a second are accepted; 0: no bound.
	ConnRate int
	// PublishRate and PublishBytes are how many messages, and bytes of PUBLISH
	// packets, a second a client may send after the first second's worth. One that
	// sends more is not read from until it may again. 0: no bound.
	PublishRate  int
	PublishBytes int
	// QueueBytes bounds the out-queue of a connection: 1 MiB. A client that lets
	// twice as much pile up is not read from until it has taken some of it.
	QueueBytes int
	// TLS is for ServeTLS.
	TLS *tls.Config
	// CertUser lets a client that names no account be the one that the common name
	// of its certificate names, if TLS has verified that.
	CertUser bool
	// Window bounds the unacknowledged deliveries of a client: 256.
	Window int
	// Log: slog.Default.
	Log *slog.Logger
}

const (
	// connectLimit is the default of Options.MaxConnectSize.
	connectLimit = 96 << 10
	// clientIDMax bounds client ids, in bytes: they are resourceparts of JIDs too (RFC 7622 §3.4).
	clientIDMax = 1023
)

func (o Options) withDefaults() Options {
	set(&o.MaxPacketSize, 1<<20)
	set(&o.MaxConnectSize, connectLimit)
	set(&o.ReceiveMax, 1024)
	if o.TopicAliasMax == 0 {
		o.TopicAliasMax = 16
	}
	o.TopicAliasMax = min(o.TopicAliasMax, 65535)
	set(&o.SessionExpiryMax, 7*24*time.Hour)
	set(&o.ConnectTimeout, 10*time.Second)
	set(&o.QueueBytes, 1<<20)
	set(&o.Window, 256)
	if o.Log == nil {
		o.Log = slog.Default()
	}
	return o
}

func set[T int | uint16 | time.Duration](v *T, otherwise T) {
	if *v <= 0 {
		*v = otherwise
	}
}

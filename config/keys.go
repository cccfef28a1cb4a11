package config

import (
	"strings"
	"time"
)

// key describes one setting. The table below is the only list of them:
// loading, showing, checking and reloading all walk it.
type key struct {
	name     string                // dotted, as in flags
	field    func(c *Config) any   // a pointer into c; its type says how to read the value
	choices  []string              // for text: the only values allowed
	min, max int64                 // for numbers, sizes (bytes) and durations (nanoseconds), both inclusive
	live     bool                  // a reload applies it; otherwise it takes a restart
	secret   func(v string) string // hides the secret part of a value
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	second  = int64(time.Second)
	longest = 3650 * int64(day)
)

var keys = []key{
	{name: "domain", field: func(c *Config) any { return &c.Domain }},
	{name: "domain_aliases", field: func(c *Config) any { return &c.DomainAliases }},
	{name: "data_dir", field: func(c *Config) any { return &c.DataDir }},
	{name: "insecure", field: func(c *Config) any { return &c.Insecure }},

	{name: "log.level", field: func(c *Config) any { return &c.Log.Level }, choices: []string{"debug", "info", "warn", "error"}, live: true},
	{name: "log.format", field: func(c *Config) any { return &c.Log.Format }, choices: []string{"text", "json"}},

	{name: "mqtt.listen", field: func(c *Config) any { return &c.MQTT.Listen }},
	{name: "mqtt.tls_listen", field: func(c *Config) any { return &c.MQTT.TLSListen }},
	{name: "mqtt.ws_listen", field: func(c *Config) any { return &c.MQTT.WSListen }},
	{name: "mqtt.wss_listen", field: func(c *Config) any { return &c.MQTT.WSSListen }},
	{name: "mqtt.ws_path", field: func(c *Config) any { return &c.MQTT.WSPath }},
	{name: "mqtt.ws_origins", field: func(c *Config) any { return &c.MQTT.WSOrigins }},
	{name: "mqtt.unix_listen", field: func(c *Config) any { return &c.MQTT.UnixListen }},
	{name: "mqtt.proxy_protocol", field: func(c *Config) any { return &c.MQTT.ProxyProtocol }, choices: []string{off, on}},
	{name: "mqtt.cert_user", field: func(c *Config) any { return &c.MQTT.CertUser }, choices: []string{off, "cn"}},
	{name: "mqtt.anonymous", field: func(c *Config) any { return &c.MQTT.Anonymous }, live: true},
	// [MQTT-2.1.4]: a packet may reach 256 MiB, but the bus carries no message above 64 MiB.
	{name: "mqtt.max_packet_size", field: func(c *Config) any { return &c.MQTT.MaxPacketSize }, min: kib, max: 64 * mib, live: true},
	{name: "mqtt.max_connect_size", field: func(c *Config) any { return &c.MQTT.MaxConnectSize }, min: kib, max: mib},
	{name: "mqtt.receive_max", field: func(c *Config) any { return &c.MQTT.ReceiveMax }, min: 1, max: 65535, live: true},
	{name: "mqtt.topic_alias_max", field: func(c *Config) any { return &c.MQTT.TopicAliasMax }, max: 65535},
	{name: "mqtt.max_keepalive", field: func(c *Config) any { return &c.MQTT.MaxKeepalive }, max: 65535 * second, live: true},
	{name: "mqtt.session_expiry_max", field: func(c *Config) any { return &c.MQTT.SessionExpiryMax }, min: second, max: longest, live: true},
	{name: "mqtt.connect_timeout", field: func(c *Config) any { return &c.MQTT.ConnectTimeout }, min: second, max: 600 * second, live: true},
	{name: "mqtt.sys_interval", field: func(c *Config) any { return &c.MQTT.SysInterval }, max: 3600 * second},
	{name: "mqtt.redirect", field: func(c *Config) any { return &c.MQTT.Redirect }},

	{name: "xmpp.listen", field: func(c *Config) any { return &c.XMPP.Listen }},
	{name: "xmpp.tls_listen", field: func(c *Config) any { return &c.XMPP.TLSListen }},
	{name: "xmpp.proxy_protocol", field: func(c *Config) any { return &c.XMPP.ProxyProtocol }, choices: []string{off, on}},
	{name: "xmpp.registration", field: func(c *Config) any { return &c.XMPP.Registration }, choices: []string{auto, "open", "closed"}, live: true},
	{name: "xmpp.plain_without_tls", field: func(c *Config) any { return &c.XMPP.PlainWithoutTLS }, live: true},
	{name: "xmpp.channel_binding", field: func(c *Config) any { return &c.XMPP.ChannelBinding }},
	// RFC 6120 §13.12: not below 10000 bytes.
	{name: "xmpp.max_stanza_size", field: func(c *Config) any { return &c.XMPP.MaxStanzaSize }, min: 10000, max: 64 * mib, live: true},
	{name: "xmpp.login_timeout", field: func(c *Config) any { return &c.XMPP.LoginTimeout }, min: second, max: 600 * second, live: true},
	{name: "xmpp.admin_addresses", field: func(c *Config) any { return &c.XMPP.AdminAddresses }},

	{name: "tls.cert", field: func(c *Config) any { return &c.TLS.Cert }, live: true},
	{name: "tls.key", field: func(c *Config) any { return &c.TLS.Key }, live: true},
	{name: "tls.more_certs", field: func(c *Config) any { return &c.TLS.MoreCerts }},
	{name: "tls.client_ca", field: func(c *Config) any { return &c.TLS.ClientCA }},
	{name: "tls.client_auth", field: func(c *Config) any { return &c.TLS.ClientAuth }, choices: []string{off, "optional", "required"}},

	{name: "nats.url", field: func(c *Config) any { return &c.NATS.URL }, secret: hideUserinfo},
	{name: "nats.creds", field: func(c *Config) any { return &c.NATS.Creds }},
	{name: "nats.tls_ca", field: func(c *Config) any { return &c.NATS.TLSCA }},
	{name: "nats.tls_cert", field: func(c *Config) any { return &c.NATS.TLSCert }},
	{name: "nats.tls_key", field: func(c *Config) any { return &c.NATS.TLSKey }},
	{name: "nats.replicas", field: func(c *Config) any { return &c.NATS.Replicas }, min: 1, max: 5},
	{name: "nats.sync", field: func(c *Config) any { return &c.NATS.Sync }, min: int64(time.Millisecond), max: 3600 * second},

	{name: "journal.max_bytes", field: func(c *Config) any { return &c.Journal.MaxBytes }, max: 1 << 50},
	{name: "journal.max_age", field: func(c *Config) any { return &c.Journal.MaxAge }, max: longest},
	{name: "journal.frame_bytes", field: func(c *Config) any { return &c.Journal.FrameBytes }, min: kib, max: mib},

	{name: "limits.max_connections", field: func(c *Config) any { return &c.Limits.MaxConnections }, min: 1, max: 10_000_000, live: true},
	{name: "limits.queue_bytes", field: func(c *Config) any { return &c.Limits.QueueBytes }, min: 4 * kib, max: gib, live: true},
	{name: "limits.window", field: func(c *Config) any { return &c.Limits.Window }, min: 1, max: 65535, live: true},
	{name: "limits.offline_messages", field: func(c *Config) any { return &c.Limits.OfflineMessages }, min: 1, max: 1_000_000_000, live: true},
	// Bytes are counted in 32 bits.
	{name: "limits.offline_bytes", field: func(c *Config) any { return &c.Limits.OfflineBytes }, min: mib, max: 4*gib - 1},
	{name: "limits.offline_age", field: func(c *Config) any { return &c.Limits.OfflineAge }, max: longest},
	{name: "limits.subscriptions", field: func(c *Config) any { return &c.Limits.Subscriptions }, min: 1, max: 10_000_000},
	{name: "limits.topic_bytes", field: func(c *Config) any { return &c.Limits.TopicBytes }, min: 1, max: 65535},
	{name: "limits.topic_levels", field: func(c *Config) any { return &c.Limits.TopicLevels }, min: 1, max: 128},
	{name: "limits.connections_per_address", field: func(c *Config) any { return &c.Limits.ConnectionsPerAddress }, max: 10_000_000},
	{name: "limits.connect_rate", field: func(c *Config) any { return &c.Limits.ConnectRate }, max: 1_000_000},
	// A login that waits must end before the fronts give it up.
	{name: "limits.login_delay", field: func(c *Config) any { return &c.Limits.LoginDelay }, max: 15 * second},
	{name: "limits.publish_rate", field: func(c *Config) any { return &c.Limits.PublishRate }, max: 1_000_000_000},
	{name: "limits.publish_bytes", field: func(c *Config) any { return &c.Limits.PublishBytes }, max: 64 * gib},

	{name: "acl.default", field: func(c *Config) any { return &c.ACL.Default }, choices: []string{"allow", "deny"}, live: true},
	{name: "acl.hide_sys", field: func(c *Config) any { return &c.ACL.HideSys }, live: true},
	{name: "acl.rules", field: func(c *Config) any { return &c.ACL.Rules }, live: true},
}

// Keys lists the dotted names of all settings, for flags and completion.
func Keys() []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.name
	}
	return names
}

func keyNamed(name string) (key, bool) {
	for _, k := range keys {
		if k.name == name {
			return k, true
		}
	}
	return key{}, false
}

// env is the variable of a key: mqtt.tls_listen is PUSHHUB_MQTT_TLS_LISTEN.
func (k key) env() string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(k.name, ".", "_"))
}

// section splits a name: "mqtt.listen" is "mqtt" and "listen"; "domain" has no section.
func section(name string) (sec, leaf string) {
	if before, after, ok := strings.Cut(name, "."); ok {
		return before, after
	}
	return "", name
}

func isSection(name string) bool {
	for _, k := range keys {
		if sec, _ := section(k.name); sec != "" && sec == name {
			return true
		}
	}
	return false
}

// hideUserinfo blanks what stands before the @ of each URL in a comma list: a
// user with a password, or a bare token.
func hideUserinfo(urls string) string {
	parts := strings.Split(urls, ",")
	for i, u := range parts {
		scheme, rest, ok := strings.Cut(u, "://")
		if !ok {
			scheme, rest = "", u
		}
		at := strings.LastIndexByte(rest, '@')
		if at < 0 {
			continue
		}
		parts[i] = "xxxxx" + rest[at:]
		if ok {
			parts[i] = scheme + "://" + parts[i]
		}
	}
	return strings.Join(parts, ",")
}

package config

import (
	"strings"
	"testing"
)

// with applies overrides to the default.
func with(t *testing.T, overrides map[string]string) Config {
	t.Helper()
	c, err := Load("", nil, overrides)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

type set = map[string]string

func TestCheckAccepts(t *testing.T) {
	cases := []struct {
		name string
		set  set
	}{
		{"TLS only, to the network", set{"mqtt.listen": "", "mqtt.tls_listen": ":8883", "xmpp.listen": ":5222", "xmpp.tls_listen": ":5223"}},
		{"plain to the network with insecure", set{"insecure": "true", "mqtt.listen": ":1883", "mqtt.anonymous": "true", "xmpp.listen": ":5222", "xmpp.registration": "open", "xmpp.plain_without_tls": "true"}},
		{"IPv6 loopback", set{"mqtt.listen": "[::1]:1883", "mqtt.anonymous": "true"}},
		{"localhost by name", set{"mqtt.listen": "localhost:1883", "mqtt.anonymous": "true"}},
		{"free ports", set{"mqtt.listen": "127.0.0.1:0", "mqtt.tls_listen": "127.0.0.1:0", "xmpp.listen": "127.0.0.1:0", "xmpp.tls_listen": "127.0.0.1:0"}},
		{"one port on two addresses", set{"mqtt.listen": "127.0.0.1:1883", "mqtt.tls_listen": "127.0.0.2:1883"}},
		{"one listener", set{"mqtt.listen": "", "mqtt.tls_listen": "", "xmpp.tls_listen": ""}},
		{"domains", set{"domain": "bücher.example", "domain_aliases": "10.0.0.1,::1,[fe80::1],localhost"}},
		{"admins", set{"xmpp.admin_addresses": "mailto:admin@example.org,xmpp:admin@example.org,https://example.org/help"}},
		{"every transport, to the network", set{"mqtt.listen": "", "mqtt.tls_listen": ":8883", "mqtt.wss_listen": ":8443", "mqtt.ws_listen": "127.0.0.1:8080", "mqtt.unix_listen": "/run/pushhub/mqtt.sock"}},
		{"a unix socket alone", set{"mqtt.listen": "", "mqtt.tls_listen": "", "xmpp.listen": "", "xmpp.tls_listen": "", "mqtt.unix_listen": "mqtt.sock"}},
		{"origins", set{"mqtt.ws_origins": "https://app.example,http://localhost:3000,null,*"}},
		{"several certificates", set{"tls.cert": "a.pem", "tls.key": "b.pem", "tls.more_certs": "c.pem:d.pem,e:f"}},
		{"client certificates", set{"tls.client_auth": "optional", "tls.client_ca": "ca.pem", "mqtt.cert_user": "cn"}},
		{"certificates", set{"tls.cert": "a.pem", "tls.key": "b.pem"}},
		{"a cluster", set{"nats.url": "nats://u:p@a:4222, tls://b:4222", "nats.replicas": "3", "nats.creds": "x", "nats.tls_cert": "a", "nats.tls_key": "b"}},
		{"no journal limit", set{"journal.max_bytes": "0", "journal.max_age": "0"}},
		{"rules", set{"acl.rules": "deny * publish plant/#,allow alice all home/%u/#"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			for _, p := range with(t, c.set).Check() {
				t.Error(p)
			}
		})
	}
}

func TestCheckRefuses(t *testing.T) {
	cases := []struct {
		name string
		set  set
		key  string
		says string
	}{
		{"plain MQTT to the network", set{"mqtt.listen": "0.0.0.0:1883"}, "mqtt.listen", `mqtt.listen: ""`},
		{"plain MQTT on a name", set{"mqtt.listen": "hub.example:1883"}, "mqtt.listen", "insecure: true"},
		{"anonymous to the network", set{"mqtt.tls_listen": ":8883", "mqtt.anonymous": "true"}, "mqtt.anonymous", "mqtt.anonymous: false"},
		{"registration to the network", set{"xmpp.tls_listen": "[::]:5223", "xmpp.registration": "open"}, "xmpp.registration", "xmpp.registration: closed"},
		{"XMPP passwords to the network", set{"xmpp.listen": ":5222", "xmpp.plain_without_tls": "true"}, "xmpp.plain_without_tls", "xmpp.plain_without_tls: false"},
		{"no listener", set{"mqtt.listen": "", "mqtt.tls_listen": "", "xmpp.listen": "", "xmpp.tls_listen": ""}, "mqtt.listen", "every listener is closed"},
		{"the same address twice", set{"xmpp.listen": "127.0.0.1:1883"}, "xmpp.listen", "taken by mqtt.listen"},
		{"the same address, spelt differently", set{"mqtt.listen": "LOCALHOST:1883", "xmpp.listen": "localhost:01883"}, "xmpp.listen", "taken by mqtt.listen"},
		{"all addresses cover one", set{"insecure": "true", "mqtt.listen": ":1883", "xmpp.listen": "127.0.0.1:1883"}, "xmpp.listen", "taken by mqtt.listen"},
		{"no port", set{"mqtt.listen": "127.0.0.1"}, "mqtt.listen", "not an address"},
		{"a port by name", set{"mqtt.listen": "127.0.0.1:mqtt"}, "mqtt.listen", "not an address"},
		{"a port too high", set{"mqtt.listen": "127.0.0.1:65536"}, "mqtt.listen", "not an address"},
		{"no domain", set{"domain": ""}, "domain", "empty"},
		{"an address for a domain", set{"domain": "alice@example"}, "domain", "may not have"},
		{"an underscore", set{"domain": "a_b"}, "domain", ""},
		{"an empty label", set{"domain": "a..b"}, "domain", ""},
		{"a hyphen in front", set{"domain": "-a.example"}, "domain", ""},
		{"a long label", set{"domain": strings.Repeat("a", 64)}, "domain", ""},
		{"a bad alias", set{"domain_aliases": "a b"}, "domain_aliases", "a b"},
		{"an admin without a scheme", set{"xmpp.admin_addresses": "admin@example.org"}, "xmpp.admin_addresses", "admin@example.org"},
		{"an admin that is no text", set{"xmpp.admin_addresses": "mailto:\xff"}, "xmpp.admin_addresses", ""},
		{"an alias that is the domain", set{"domain_aliases": "LocalHost"}, "domain_aliases", "twice"},
		{"an alias twice", set{"domain_aliases": "a,b,a"}, "domain_aliases", "twice"},
		{"no data directory", set{"data_dir": ""}, "data_dir", "empty"},
		{"certificate without key", set{"tls.cert": "a"}, "tls.cert", "tls.key"},
		{"key without certificate", set{"tls.key": "a"}, "tls.key", "tls.cert"},
		{"bus certificate without key", set{"nats.url": "tls://a", "nats.tls_cert": "a"}, "nats.tls_cert", "nats.tls_key"},
		{"bus of another kind", set{"nats.url": "http://a"}, "nats.url", "nats://host"},
		{"bus without host", set{"nats.url": "nats://"}, "nats.url", "nats://host"},
		{"one bad bus of two", set{"nats.url": "nats://a,"}, "nats.url", "nats://host"},
		{"copies on one server", set{"nats.replicas": "3"}, "nats.replicas", "nats.replicas: 1"},
		{"credentials for nobody", set{"nats.creds": "x"}, "nats.creds", "nats.url"},
		{"queue below a packet", set{"limits.queue_bytes": "512KiB"}, "limits.queue_bytes", "limits.queue_bytes: 1MiB"},
		{"a packet that takes minutes to pay for", set{"limits.publish_bytes": "10KiB"}, "limits.publish_bytes", "limits.publish_bytes: 34953 or more"},
		{"journal below its frames", set{"journal.max_bytes": "100KiB"}, "journal.max_bytes", "512KiB"},
		{"plain WebSocket to the network", set{"mqtt.ws_listen": ":8080"}, "mqtt.ws_listen", "mqtt.wss_listen"},
		{"anonymous to the network by WebSocket", set{"mqtt.wss_listen": ":8443", "mqtt.anonymous": "true"}, "mqtt.anonymous", "mqtt.wss_listen"},
		{"WebSocket on the port of another", set{"mqtt.ws_listen": "127.0.0.1:1883"}, "mqtt.ws_listen", "taken by mqtt.listen"},
		{"a path without its slash", set{"mqtt.ws_path": "mqtt"}, "mqtt.ws_path", "/mqtt"},
		{"a host for an origin", set{"mqtt.ws_origins": "app.example"}, "mqtt.ws_origins", "https://"},
		{"a page for an origin", set{"mqtt.ws_origins": "https://app.example/"}, "mqtt.ws_origins", "https://"},
		{"a socket too deep", set{"mqtt.unix_listen": "/" + strings.Repeat("a", 107)}, "mqtt.unix_listen", "107"},
		{"another certificate without a key", set{"tls.cert": "a", "tls.key": "b", "tls.more_certs": "c.pem"}, "tls.more_certs", "CERT:KEY"},
		{"other certificates alone", set{"tls.more_certs": "c.pem:d.pem"}, "tls.more_certs", "tls.cert"},
		{"certificates of anybody", set{"tls.client_auth": "required"}, "tls.client_auth", "tls.client_ca"},
		{"a CA for nothing", set{"tls.client_ca": "ca.pem"}, "tls.client_ca", "tls.client_auth"},
		{"accounts by certificates that nobody is asked for", set{"mqtt.cert_user": "cn"}, "mqtt.cert_user", "tls.client_auth"},
		{"a bad rule", set{"acl.rules": "allow * all #,deny everything"}, "acl.rules", "rule 2"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			problems := with(t, c.set).Check()
			if len(problems) != 1 {
				t.Fatalf("%d problems: %v", len(problems), problems)
			}
			p := problems[0]
			if p.Key != c.key || !strings.Contains(p.Error(), c.says) || p.Fix == "" {
				t.Errorf("got %v, want one about %s that says %q", p, c.key, c.says)
			}
		})
	}
}

func TestCheckNamesTheSource(t *testing.T) {
	c, err := load("hub.yaml", []byte("\ntls: {cert: a}\n"), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p := c.Check(); len(p) != 1 || p[0].Where != "hub.yaml:2" {
		t.Errorf("got %v", p)
	}
}

func TestAutoFollowsTheListeners(t *testing.T) {
	cases := []struct {
		name                           string
		set                            set
		anonymous, registration, plain bool
	}{
		{"loopback", nil, true, true, true},
		{"MQTT is exposed", set{"mqtt.tls_listen": ":8883"}, false, true, true},
		{"XMPP is exposed", set{"xmpp.listen": ":5222"}, true, false, false},
		{"only its TLS is exposed", set{"xmpp.tls_listen": ":5223"}, true, false, true},
		{"said outright", set{"mqtt.anonymous": "false", "xmpp.registration": "closed", "xmpp.plain_without_tls": "false"}, false, false, false},
		{"said outright while exposed", set{"mqtt.listen": ":1", "mqtt.anonymous": "true", "xmpp.listen": ":2", "xmpp.registration": "open", "xmpp.plain_without_tls": "true"}, true, true, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			cfg := with(t, c.set)
			if cfg.AnonymousAllowed() != c.anonymous || cfg.RegistrationOpen() != c.registration || cfg.PlainWithoutTLSAllowed() != c.plain {
				t.Errorf("anonymous %v, registration %v, plain %v", cfg.AnonymousAllowed(), cfg.RegistrationOpen(), cfg.PlainWithoutTLSAllowed())
			}
		})
	}
}

func TestAutoIsCautiousWithListenersThatOthersReach(t *testing.T) {
	for _, c := range []struct {
		name                string
		set                 set
		anonymous, register bool
		plain               bool
	}{
		{"loopback", set{}, true, true, true},
		{"WebSocket on loopback, unix socket", set{"mqtt.ws_listen": "127.0.0.1:8080", "mqtt.unix_listen": "x"}, true, true, true},
		{"WebSocket over TLS to the network", set{"mqtt.wss_listen": ":8443"}, false, true, true},
		{"MQTT behind a proxy", set{"mqtt.proxy_protocol": "on"}, false, true, true},
		{"XMPP behind a proxy", set{"xmpp.proxy_protocol": "on"}, true, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := with(t, c.set)
			if cfg.AnonymousAllowed() != c.anonymous || cfg.RegistrationOpen() != c.register || cfg.PlainWithoutTLSAllowed() != c.plain {
				t.Errorf("anonymous %v, registration %v, plain %v", cfg.AnonymousAllowed(), cfg.RegistrationOpen(), cfg.PlainWithoutTLSAllowed())
			}
		})
	}
}

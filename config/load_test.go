package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func loadText(t *testing.T, text string) Config {
	t.Helper()
	c, err := load("pushhub.yaml", []byte(text), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoadOfNothingIsTheDefault(t *testing.T) {
	for _, text := range []string{"", "\n", "# only a comment\n", "---\n", "mqtt:\n", "mqtt: {}\n"} {
		c := loadText(t, text)
		changed, restart := Reloadable(Default(), c)
		if len(changed)+len(restart) > 0 {
			t.Errorf("%q changes %v %v", text, changed, restart)
		}
	}
}

func TestDefaultsPassTheirOwnChecks(t *testing.T) {
	c := Default()
	if problems := c.Check(); len(problems) > 0 {
		t.Errorf("%v", problems)
	}
	for _, k := range keys {
		text := strings.Trim(k.yaml(&c, false), `"`)
		if _, isList := k.field(&c).(*[]string); isList {
			continue
		}
		if err := k.set(&c, text, shapeAny); err != nil {
			t.Errorf("the default of %s is refused: %q: %v", k.name, text, err)
		}
	}
	if !c.AnonymousAllowed() || !c.RegistrationOpen() || !c.PlainWithoutTLSAllowed() {
		t.Error("a hub on loopback is not open by default")
	}
}

func TestLoadReadsEveryKindOfValue(t *testing.T) {
	c := loadText(t, `
domain: push.example.org   # a comment
domain_aliases: [10.0.0.1, "localhost"]
insecure: true
log: {level: debug, format: json}
mqtt:
  listen: ":1883"
  tls_listen: ""
  anonymous: false
  max_packet_size: 65536
  receive_max: 20
  session_expiry_max: 30d
xmpp:
  registration: closed
  plain_without_tls: auto
  max_stanza_size: 10MB
nats:
  sync: 200ms
acl:
  rules:
    - deny * publish plant/#
    - "allow alice all plant/%u/#"
`)
	want := Default()
	want.Domain = "push.example.org"
	want.DomainAliases = []string{"10.0.0.1", "localhost"}
	want.Insecure = true
	want.Log = Log{Level: "debug", Format: "json"}
	want.MQTT.Listen = ":1883"
	want.MQTT.TLSListen = ""
	want.MQTT.Anonymous = "false"
	want.MQTT.MaxPacketSize = 65536
	want.MQTT.ReceiveMax = 20
	want.MQTT.SessionExpiryMax = 30 * day
	want.XMPP.Registration = "closed"
	want.XMPP.MaxStanzaSize = 10_000_000
	want.NATS.Sync = Sync(200 * time.Millisecond)
	want.ACL.Rules = []string{"deny * publish plant/#", "allow alice all plant/%u/#"}
	want.sources = c.sources
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got  %+v\nwant %+v", c, want)
	}
	if got := c.Where("mqtt.receive_max"); got != "pushhub.yaml:11" {
		t.Errorf("mqtt.receive_max comes from %s", got)
	}
}

func TestLoadLayers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hub.yaml")
	if err := os.WriteFile(path, []byte("domain: file\nmqtt: {listen: 'file:1', tls_listen: 'file:2'}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"HOME=/", "PUSHHUB_CONFIG=x", "PUSHHUB_MQTT_LISTEN=env:1", "PUSHHUB_MQTT_TLS_LISTEN=env:2", "PUSHHUB_DOMAIN_ALIASES=a, b"}
	c, err := Load(path, env, map[string]string{"mqtt.listen": "flag:1", "acl.rules": `["allow * all a,b"]`})
	if err != nil {
		t.Fatal(err)
	}
	got := []string{c.Domain, c.MQTT.TLSListen, c.MQTT.Listen, c.XMPP.Listen}
	if want := []string{"file", "env:2", "flag:1", "127.0.0.1:5222"}; !reflect.DeepEqual(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if !reflect.DeepEqual(c.DomainAliases, []string{"a", "b"}) || !reflect.DeepEqual(c.ACL.Rules, []string{"allow * all a,b"}) {
		t.Errorf("lists: %q %q", c.DomainAliases, c.ACL.Rules)
	}
	for key, want := range map[string]string{
		"domain": path + ":1", "mqtt.tls_listen": "PUSHHUB_MQTT_TLS_LISTEN", "mqtt.listen": "--mqtt.listen", "xmpp.listen": "default",
	} {
		if got := c.Where(key); got != want {
			t.Errorf("%s comes from %s, want %s", key, got, want)
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	cases := []struct {
		name, text string
		says       []string
	}{
		{"a misspelt key", "domain: x\nmqtt:\n  lisen: ':1'\n", []string{"pushhub.yaml:3: mqtt.lisen", "did you mean mqtt.listen?"}},
		{"a misspelt section", "mqqt:\n  listen: ':1'\n", []string{"pushhub.yaml:1: mqqt", "did you mean mqtt?"}},
		{"a key at the wrong level", "listen: ':1'\n", []string{"pushhub.yaml:1: listen", "did you mean mqtt.listen?"}},
		{"a key like no other", "log:\n  colour_scheme: x\n", []string{"log has level, format"}},
		{"a dotted key", "log.levle: info\n", []string{"did you mean log.level?"}},
		{"a number for a text", "domain: 5\n", []string{"pushhub.yaml:1: domain", "another type", "want text"}},
		{"a text for a number", "mqtt:\n  receive_max: many\n", []string{":2: mqtt.receive_max", "want a whole number from 1 to 65535"}},
		{"a quoted number", "mqtt:\n  receive_max: '5'\n", []string{":2: mqtt.receive_max"}},
		{"a float", "nats:\n  replicas: 1.5\n", []string{":2: nats.replicas", `"1.5"`}},
		{"out of range", "mqtt:\n  receive_max: 65536\n", []string{"out of range", "1 to 65535"}},
		{"negative", "limits:\n  window: -1\n", []string{"out of range"}},
		{"yes for true", "insecure: yes\n", []string{"want true or false"}},
		{"a duration without unit", "mqtt:\n  connect_timeout: 30\n", []string{"want a duration from 1s to 10m"}},
		{"a size with a wrong unit", "limits:\n  queue_bytes: 1M\n", []string{"want a size from 4KiB to 1GiB"}},
		{"a size out of range", "limits:\n  queue_bytes: 1B\n", []string{"out of range"}},
		{"no such choice", "log:\n  level: loud\n", []string{`"loud"`, "one of debug, info, warn, error"}},
		{"no such switch", "mqtt: {anonymous: maybe}\n", []string{"auto, true or false"}},
		{"a sync that is neither", "nats: {sync: never}\n", []string{"want always, or a duration"}},
		{"a list for a text", "domain: [a]\n", []string{"a list", "want text"}},
		{"a text for a list", "domain_aliases: a\n", []string{"want a list of texts"}},
		{"a number in a list", "domain_aliases: [a, 5]\n", []string{"entry 2"}},
		{"nothing", "domain:\n", []string{`"nothing"`, "want text"}},
		{"a value for a section", "mqtt: 5\n", []string{":1: mqtt: it is a section"}},
		{"a section for a value", "domain:\n  a: b\n", []string{`"a section"`}},
		{"a list at the top", "- a\n", []string{"keys and values"}},
		{"an anchor", "domain: &d x\ndata_dir: *d\n", []string{":1: domain", ":2: data_dir", "anchor, alias or tag"}},
		{"a merge", "log: &l {level: info}\nmqtt:\n  <<: *l\n", []string{":1: log", "plain text"}},
		{"a key twice", "domain: a\ndomain: b\n", []string{"pushhub.yaml:2", "domain"}},
		{"two documents", "domain: a\n---\ndomain: b\n", []string{"several documents"}},
		{"broken YAML", "domain: a\n  b: [\n", []string{"pushhub.yaml:"}},
		{"a tab", "mqtt:\n\tlisten: x\n", []string{"pushhub.yaml:2"}},
		{"bad UTF-8", "domain: \xff\n", []string{"UTF-8"}},
		{"an abyss of brackets", "domain: " + strings.Repeat("[", 5000), []string{"brackets"}},
		{"a long text", "domain: " + strings.Repeat("x", 5000), []string{"longer than"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := load("pushhub.yaml", []byte(c.text), nil, nil)
			if err == nil {
				t.Fatal("accepted")
			}
			for _, s := range c.says {
				if !strings.Contains(err.Error(), s) {
					t.Errorf("%q does not say %q", err, s)
				}
			}
		})
	}
}

func TestLoadRefusesEnvAndFlags(t *testing.T) {
	cases := []struct {
		name      string
		env       []string
		overrides map[string]string
		says      string
	}{
		{"a misspelt variable", []string{"PUSHHUB_MQTT_LISEN=x"}, nil, "PUSHHUB_MQTT_LISEN: there is no such variable; did you mean PUSHHUB_MQTT_LISTEN?"},
		{"a bad value in a variable", []string{"PUSHHUB_LIMITS_WINDOW=x"}, nil, `PUSHHUB_LIMITS_WINDOW: limits.window: "x": it is not a whole number; want a whole number from 1 to 65535`},
		{"a misspelt flag", nil, map[string]string{"mqtt.lissten": "x"}, "--mqtt.lissten: mqtt.lissten: there is no such key; did you mean mqtt.listen?"},
		{"a bad value in a flag", nil, map[string]string{"insecure": "1"}, "--insecure: insecure"},
		{"a bad list in a flag", nil, map[string]string{"domain_aliases": "[a, 5]"}, "entry 2"},
		{"a broken list in a flag", nil, map[string]string{"domain_aliases": "[a"}, "--domain_aliases"},
		{"text that is none", []string{"PUSHHUB_DOMAIN=\xff"}, nil, "not text"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			_, err := load("", nil, c.env, c.overrides)
			if err == nil || !strings.Contains(err.Error(), c.says) {
				t.Errorf("got %v, want %q", err, c.says)
			}
		})
	}
}

func TestLoadReportsAllProblemsAtOnce(t *testing.T) {
	_, err := load("f", []byte("domian: x\nlog: {level: loud}\nlimits: {window: 0}\n"), []string{"PUSHHUB_X=1"}, map[string]string{"y": "1"})
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok || len(joined.Unwrap()) != 5 {
		t.Fatalf("got %v", err)
	}
	var p Problem
	if !errors.As(err, &p) || p.Where != "f:1" {
		t.Errorf("the first problem is %+v", p)
	}
}

func TestLoadNeverQuotesASecret(t *testing.T) {
	_, err := load("f", []byte("nats:\n  url: [nats://u:hunter2@h]\n"), []string{"PUSHHUB_NATS_URL=nats://u:hunter2@\xff"}, nil)
	if err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("got %v", err)
	}
	c := Default()
	c.NATS.URL = "http://u:hunter2@h"
	for _, p := range c.Check() {
		if strings.Contains(p.Error(), "hunter2") {
			t.Errorf("got %v", p)
		}
	}
}

func TestLoadOfAFileThatIsNotThere(t *testing.T) {
	if _, err := Load(filepath.Join(t.TempDir(), "no.yaml"), nil, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestLoadOfAHugeFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "huge.yaml")
	if err := os.WriteFile(path, []byte(strings.Repeat("# x\n", maxFile)), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(path, nil, nil); err == nil || !strings.Contains(err.Error(), "larger than") {
		t.Errorf("got %v", err)
	}
}

func TestEdits(t *testing.T) {
	cases := []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "", 3}, {"", "abc", 3}, {"kitten", "sitting", 3}, {"listen", "lisen", 1}, {"same", "same", 0}}
	for _, c := range cases {
		if got := edits(c.a, c.b); got != c.want {
			t.Errorf("edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func FuzzLoad(f *testing.F) {
	f.Add([]byte("domain: x\nmqtt: {listen: ':1', anonymous: auto}\nacl:\n  rules:\n    - a\n"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? b\n: !!str c\n"))
	f.Add([]byte("---\n...\n%YAML 1.2\n---\ndomain: |\n  x\n"))
	f.Add([]byte("domain: \"\\u0085\\U0001F40E\"\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := load("f", data, nil, nil)
		if err != nil {
			return
		}
		c.Check()
		back, err := load("shown", Show(c, false), nil, nil)
		if err != nil {
			t.Fatalf("what is shown does not load: %v\n%s", err, Show(c, false))
		}
		if changed, restart := Reloadable(c, back); len(changed)+len(restart) > 0 {
			t.Fatalf("what is shown loads with other values: %v %v\n%s", changed, restart, Show(c, false))
		}
	})
}

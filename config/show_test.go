package config

import (
	"reflect"
	"strings"
	"testing"
)

func TestShowReadsBack(t *testing.T) {
	c := with(t, set{
		"domain": `odd "name" # \ ` + "\u0085🐎\n", "domain_aliases": `["a,b", "[c]", "- d"]`,
		"mqtt.max_packet_size": "10MB", "nats.sync": "1m30s", "nats.url": "nats://u:p@h", "mqtt.anonymous": "true", "data_dir": "true",
	})
	back, err := load("shown", Show(c, false), nil, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, Show(c, false))
	}
	back.sources = c.sources
	if len(back.ACL.Rules) == 0 {
		back.ACL.Rules = nil
	}
	if !reflect.DeepEqual(c, back) {
		t.Errorf("got  %+v\nwant %+v", back, c)
	}
}

func TestShowNamesEachSource(t *testing.T) {
	c, err := load("hub.yaml", []byte("domain: a\n"), []string{"PUSHHUB_LOG_LEVEL=debug"}, map[string]string{"mqtt.listen": ":1"})
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(Show(c, true)), "\n")
	for _, want := range []struct{ value, source string }{
		{`domain: "a"`, "# file hub.yaml:1"},
		{"  level: debug", "# env PUSHHUB_LOG_LEVEL"},
		{`  listen: ":1"`, "# flag --mqtt.listen"},
		{"  format: text", "# default"},
		{"  session_expiry_max: 7d", "# default"},
		{"  max_packet_size: 1MiB", "# default"},
		{"  sync: always", "# default"},
	} {
		found := false
		for _, line := range lines {
			found = found || strings.HasPrefix(line, want.value+" ") && strings.HasSuffix(line, want.source)
		}
		if !found {
			t.Errorf("no line %q ... %q in\n%s", want.value, want.source, strings.Join(lines, "\n"))
		}
	}
}

func TestShowHidesSecrets(t *testing.T) {
	cases := []struct{ url, want string }{
		{"nats://user:hunter2@host:4222", "nats://xxxxx@host:4222"},
		{"nats://hunter2@host", "nats://xxxxx@host"},
		{"nats://a:1,tls://u:hunter2@@b:2", "nats://a:1,tls://xxxxx@b:2"},
		{"user:hunter2@host", "xxxxx@host"},
		{"nats://host:4222", "nats://host:4222"},
	}
	for _, c := range cases {
		cfg := with(t, set{"nats.url": c.url})
		shown := string(Show(cfg, true))
		if !strings.Contains(shown, `"`+c.want+`"`) || strings.Contains(shown, "hunter2") {
			t.Errorf("%s is shown as\n%s", c.url, shown)
		}
		if !strings.Contains(string(Show(cfg, false)), c.url) {
			t.Errorf("%s is hidden when it should be shown", c.url)
		}
	}
}

func TestReloadable(t *testing.T) {
	after := with(t, set{"log.level": "debug", "tls.cert": "a", "mqtt.listen": ":1", "acl.rules": "deny * all x", "domain": "b"})
	changed, restart := Reloadable(Default(), after)
	if want := []string{"log.level", "tls.cert", "acl.rules"}; !reflect.DeepEqual(changed, want) {
		t.Errorf("changed %v, want %v", changed, want)
	}
	if want := []string{"domain", "mqtt.listen"}; !reflect.DeepEqual(restart, want) {
		t.Errorf("needs a restart %v, want %v", restart, want)
	}
	if changed, restart = Reloadable(after, after); changed != nil || restart != nil {
		t.Errorf("no change is reported as %v %v", changed, restart)
	}
}

// Every field of Config must be reachable by a key, or it could not be set.
func TestEveryFieldHasAKey(t *testing.T) {
	var c Config
	held := map[uintptr]bool{}
	for _, k := range keys {
		held[reflect.ValueOf(k.field(&c)).Pointer()] = true
	}
	var walk func(v reflect.Value, path string)
	walk = func(v reflect.Value, path string) {
		for i := range v.NumField() {
			field, name := v.Field(i), path+v.Type().Field(i).Name
			switch {
			case name == "sources":
			case field.Kind() == reflect.Struct:
				walk(field, name+".")
			case !held[field.Addr().Pointer()]:
				t.Errorf("%s has no key", name)
			}
		}
	}
	walk(reflect.ValueOf(&c).Elem(), "")
	if len(held) != len(keys) {
		t.Errorf("%d keys for %d fields", len(keys), len(held))
	}
}

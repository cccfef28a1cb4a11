package load

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParseTarget(t *testing.T) {
	tests := []struct {
		text string
		want Target // without a name: an error
	}{
		{"m=127.0.0.1:1883", Target{Name: "m", Addr: "127.0.0.1:1883"}},
		{"m=[::1]:1883,pid=7", Target{Name: "m", Addr: "[::1]:1883", PID: 7}},
		{
			"m=exec:run  -p {port} 'a b' --to=x@y @127.0.0.1:{port}",
			Target{Name: "m", Addr: "127.0.0.1:{port}", Command: []string{"run", "-p", "{port}", "a b", "--to=x@y"}},
		},
		{
			"m=exec:run {tlsport}@127.0.0.1:{port},tls=127.0.0.1:{tlsport}",
			Target{Name: "m", Addr: "127.0.0.1:{port}", TLSAddr: "127.0.0.1:{tlsport}", Command: []string{"run", "{tlsport}"}},
		},
		{"m=127.0.0.1:1,tls=127.0.0.1:2,pid=7", Target{Name: "m", Addr: "127.0.0.1:1", TLSAddr: "127.0.0.1:2", PID: 7}},
		{"m=127.0.0.1:1,tls=127.0.0.1:{tlsport}", Target{}},
		{"m=127.0.0.1:1,tls=2", Target{}},
		{"m=exec:run@127.0.0.1:1,pid=7", Target{}},
		{`m=exec:run "" a,b@localhost:1`, Target{Name: "m", Addr: "localhost:1", Command: []string{"run", "", "a,b"}}},
		{"m", Target{}},
		{"=127.0.0.1:1", Target{}},
		{"m=127.0.0.1", Target{}},
		{"m=127.0.0.1:{port}", Target{}},
		{"m=127.0.0.1:1,pid=x", Target{}},
		{"m=127.0.0.1:1,cpu=1", Target{}},
		{"m=exec:run 127.0.0.1:1", Target{}},
		{"m=exec:@127.0.0.1:1", Target{}},
		{"m=exec:run 'a@127.0.0.1:1", Target{}},
	}
	for _, tt := range tests {
		got, err := ParseTarget(tt.text)
		if (err != nil) != (tt.want.Name == "") {
			t.Errorf("%s: error %v", tt.text, err)
			continue
		}
		if got.Name != tt.want.Name || got.Addr != tt.want.Addr || got.TLSAddr != tt.want.TLSAddr || got.PID != tt.want.PID || !slices.Equal(got.Command, tt.want.Command) {
			t.Errorf("%s: got %+v", tt.text, got)
		}
	}
}

func FuzzParseTarget(f *testing.F) {
	f.Add("m=exec:run -p {port} 'a b'@127.0.0.1:{port}")
	f.Add("m=127.0.0.1:1883,pid=7")
	f.Fuzz(func(t *testing.T, text string) {
		target, err := ParseTarget(text)
		if err == nil && (target.Name == "" || target.Addr == "") {
			t.Errorf("%q accepted as %+v", text, target)
		}
	})
}

func goodOptions() Options {
	return Options{
		Targets:   []Target{{Name: "a", Addr: "127.0.0.1:1"}, {Name: "b", Addr: "[::1]:1"}},
		Scenarios: []Scenario{{QoS: 0, Publishers: 1, Subscribers: 1}}, Runs: 1, Duration: time.Second, Payload: 100,
	}
}

func TestCheckRefusesWhatCannotBeObeyed(t *testing.T) {
	tests := []struct {
		name string
		edit func(*Options)
		want string // part of the error; empty when fine
	}{
		{"good", func(*Options) {}, ""},
		{"no target", func(o *Options) { o.Targets = nil }, "no target"},
		{"no scenario", func(o *Options) { o.Scenarios = nil }, "no scenario"},
		{"no run", func(o *Options) { o.Runs = 0 }, "runs"},
		{"too short", func(o *Options) { o.Duration = 1 }, "duration"},
		{"negative warm-up", func(o *Options) { o.Warmup = -1 }, "warm-up"},
		{"payload", func(o *Options) { o.Payload = maxPayload + 1 }, "payload"},
		{"rate", func(o *Options) { o.Rate = math.NaN() }, "rate"},
		{"window", func(o *Options) { o.Window = -1 }, "window"},
		{"settling", func(o *Options) { o.Settle = time.Hour }, "settling"},
		{"same scenario", func(o *Options) { o.Scenarios = append(o.Scenarios, o.Scenarios[0]) }, "twice"},
		{"no TLS there", func(o *Options) { o.Scenarios[0] = Scenario{Kind: Idle, Count: 1, TLS: true} }, "tls="},
		{"TLS there", func(o *Options) {
			o.Scenarios[0] = Scenario{Kind: Idle, Count: 1, TLS: true}
			o.Targets[0].TLSAddr = "127.0.0.1:2"
		}, ""},
		{"remote TLS", func(o *Options) { o.Targets[0].TLSAddr = "192.0.2.1:8883" }, "loopback"},
		{"login", func(o *Options) { o.Login.User = strings.Repeat("x", 1<<16) }, "65535"},
		{"same name", func(o *Options) { o.Targets[1].Name = "a" }, "twice"},
		{"unknown base", func(o *Options) { o.Base = "c" }, "base"},
		{"remote", func(o *Options) { o.Targets[0].Addr = "192.0.2.1:1883" }, "loopback"},
		{"unspecified", func(o *Options) { o.Targets[0].Addr = "0.0.0.0:1883" }, "loopback"},
		{"a name may be remote", func(o *Options) { o.Targets[0].Addr = "example.org:1883" }, "loopback"},
		{"port", func(o *Options) { o.Targets[0].Addr = "127.0.0.1:99999" }, "port"},
		{"remote on demand", func(o *Options) { o.Targets[0].Addr, o.AllowRemote = "192.0.2.1:1883", true }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := goodOptions()
			tt.edit(&o)
			err := o.Check()
			if tt.want == "" && err != nil {
				t.Fatal(err)
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v, wanted one about %q", err, tt.want)
			}
		})
	}
}

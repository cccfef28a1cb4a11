package load

import (
	"slices"
	"testing"
)

func TestScenarioNames(t *testing.T) {
	good := map[string]Scenario{
		"q0-1-1":          {QoS: 0, Publishers: 1, Subscribers: 1},
		"q0-50-50":        {QoS: 0, Publishers: 50, Subscribers: 50},
		"q0-100-1":        {QoS: 0, Publishers: 100, Subscribers: 1},
		"q0-1-1000":       {QoS: 0, Publishers: 1, Subscribers: 1000},
		"q1-20-20":        {QoS: 1, Publishers: 20, Subscribers: 20},
		"q2-10-10":        {QoS: 2, Publishers: 10, Subscribers: 10},
		"q1p-20-20":       {QoS: 1, Publishers: 20, Subscribers: 20, Persistent: true},
		"q0-10-10@5000":   {QoS: 0, Publishers: 10, Subscribers: 10, Rate: 5000},
		"q1p-5-5/1":       {QoS: 1, Publishers: 5, Subscribers: 5, Persistent: true, Window: 1},
		"connect-50":      {Kind: Connects, Count: 50},
		"idle-10000":      {Kind: Idle, Count: 10_000},
		"idle-10000-tls":  {Kind: Idle, Count: 10_000, TLS: true},
		"subs-1000000":    {Kind: Subscriptions, Count: 1_000_000, Publishers: 10, Subscribers: 10},
		"offline-200-100": {Kind: Offline, QoS: 1, Publishers: 200, Subscribers: 200, Persistent: true, Count: 200, Each: 100},
		"q2p-1-9":         {QoS: 2, Publishers: 1, Subscribers: 9, Persistent: true},
	}
	for name, want := range good {
		got, err := ParseScenario(name)
		if err != nil || got != want || got.String() != name {
			t.Errorf("%s: got %v, error %v", name, got, err)
		}
	}
	for _, name := range []string{
		"", "q3-1-1", "q0-0-1", "q0-1", "q0-2-3", "q0-1-1-1", "q0-99999-1", "q0-01-1", "Q0-1-1", "q0-9999999-1", "q0p-1-1", "qp1-1-1",
		"q0-1-1@0", "q0-1-1/0", "q0-1-1@5/1", "q0-1-1@99999999", "connect-0", "connect-5-5", "connect-5-tls", "idle-60000", "idle-5-tls-tls",
		"subs-99999999", "offline-5", "offline-5-5-tls", "offline-40000-1", "offline-20000-1000", "idle-",
	} {
		if _, err := ParseScenario(name); err == nil {
			t.Errorf("%q was accepted", name)
		}
	}
	if list, err := ParseScenarios("q0-1-1, q1-20-20"); err != nil || len(list) != 2 {
		t.Errorf("a list: got %v, error %v", list, err)
	}
}

func TestWindowStaysBelowWhatBrokersQueue(t *testing.T) {
	tests := []struct {
		scenario     string
		asked, frame int
		want         uint64
	}{
		{"q0-1-1", 0, 120, 1000},
		{"q0-50-50", 0, 120, 400},
		{"q0-100-1", 0, 120, 1000},
		{"q0-1-1000", 0, 120, 20},
		{"q0-1-10000", 0, 120, 8},
		{"q0-1-1", 0, 64 << 10, 4},
		{"q0-1-1", 0, 1 << 20, 1},
		{"q0-50-50", 1, 120, 1},
		{"q1-20-20", 0, 120, 250},
		{"q2-10-10", 0, 1000, 49},
	}
	for _, tt := range tests {
		s, err := ParseScenario(tt.scenario)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.window(tt.asked, tt.frame); got != tt.want {
			t.Errorf("%s, frame of %d: got %d, want %d", tt.scenario, tt.frame, got, tt.want)
		}
	}
}

func FuzzParseScenario(f *testing.F) {
	for _, name := range []string{"q1p-20-20/1", "q0-10-10@5000", "idle-10-tls", "offline-200-100", "subs-5", "connect-5"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		s, err := ParseScenario(name)
		if err != nil {
			return
		}
		if again, err := ParseScenario(s.String()); err != nil || again != s {
			t.Errorf("%q reads as %+v, its name %q as %+v (%v)", name, s, s, again, err)
		}
	})
}

func TestEveryPresetIsAPlanWithoutRepetition(t *testing.T) {
	everything, err := ParsePresets("all")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range Presets() {
		plan, err := ParsePresets(name)
		if err != nil || len(plan) == 0 {
			t.Errorf("%s: %v, error %v", name, plan, err)
		}
		for i, s := range plan {
			if slices.Contains(plan[:i], s) || !slices.Contains(everything, s) {
				t.Errorf("%s: %s is there twice or not in all", name, s)
			}
		}
	}
	if plan, err := ParsePresets("idle, idle,all"); err != nil || len(plan) != len(everything) {
		t.Errorf("a list with repetitions: %v, error %v", plan, err)
	}
	if _, err := ParsePresets("speed,fast"); err == nil {
		t.Error("an unknown preset was accepted")
	}
}

func TestAScenarioPrevailsOverTheOptions(t *testing.T) {
	o := Options{Rate: 7, Window: 9}
	tests := []struct {
		name   string
		rate   float64
		window int
	}{
		{"q0-1-1", 7, 9},
		{"q0-1-1@5000", 5000, 9},
		{"q0-1-1/1", 0, 1},
	}
	for _, tt := range tests {
		s, err := ParseScenario(tt.name)
		if err != nil {
			t.Fatal(err)
		}
		if got := o.under(s); got.Rate != tt.rate || got.Window != tt.window {
			t.Errorf("%s: rate %v, window %d", tt.name, got.Rate, got.Window)
		}
	}
}

package main

import (
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

func TestBenchPlansAreWhatTheFlagsAskFor(t *testing.T) {
	const growth = "subs-10 subs-1000 subs-100000 subs-1000000"
	tests := []struct{ flags, want string }{
		{"", "q0-1-1 q0-50-50 q1-20-20"},
		{"--scenario q2-1-1,connect-5", "q2-1-1 connect-5"},
		{"--preset idle", "idle-10000"},
		{"--preset offline --scenario q0-1-1", "offline-200-100 q0-1-1"},
		{"--growth", growth},
		{"--growth --preset growth,idle", growth + " idle-10000"},
		{"--trickle", "q0-10-10@5000 q1-10-10@5000 q0-50-50/1 q1-50-50/1"},
		{"--idle 70", "idle-70"},
		{"--idle 70 --tls", "idle-70 idle-70-tls"},
		{"--preset idle --tls --scenario idle-10000-tls", "idle-10000 idle-10000-tls"},
		{"--idle 10000 --preset idle --scenario idle-10000", "idle-10000"},
	}
	for _, tt := range tests {
		got, err := planOf(t, tt.flags)
		if err != nil || got != tt.want {
			t.Errorf("%q: got %s, error %v; want %s", tt.flags, got, err, tt.want)
		}
	}
	for flags, want := range map[string]string{
		"--preset fast":   "speed, trickle, idle, growth, offline, all",
		"--scenario q3":   "q3",
		"--idle 0":        "idle-0",
		"--growth --tls":  "idle",
		"--idle 99999999": "more than",
	} {
		if got, err := planOf(t, flags); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %s, error %v, wanted one about %q", flags, got, err, want)
		}
	}
}

// planOf is the plan of a command line, as names.
func planOf(t *testing.T, flags string) (string, error) {
	t.Helper()
	var names []string
	app := &cli.App{
		Name: "pushhub",
		Commands: []*cli.Command{{
			Name: "bench", Flags: benchFlags(),
			Action: func(c *cli.Context) error {
				plan, err := benchPlan(c)
				for _, s := range plan {
					names = append(names, s.String())
				}
				return err
			},
		}},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err := app.RunContext(t.Context(), append([]string{"pushhub", "bench"}, strings.Fields(flags)...))
	return strings.Join(names, " "), err
}

func TestBenchWithoutATargetSaysHowToNameOne(t *testing.T) {
	app := &cli.App{Name: "pushhub", Commands: []*cli.Command{benchCommand()}, ExitErrHandler: func(*cli.Context, error) {}}
	err := app.RunContext(t.Context(), []string{"pushhub", "bench"})
	if err == nil || !strings.Contains(err.Error(), "--target name=") {
		t.Errorf("error %v", err)
	}
}

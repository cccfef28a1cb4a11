package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/compare/load"
)

const benchDescription = `Drives any MQTT 3.1.1 brokers with the same traffic, one run after the
other on each in turn, and prints what a second of the server's CPU time buys.

A scenario is one of

  q<QoS>[p]-<pubs>-<subs>   messages: equal counts are pairs on their own topics,
                            N-1 fans in, 1-N fans out; p: persistent sessions
        …@<rate>            paced, in messages a second in total
        …/<window>          so many messages under way in a pair, as 1
  connect-<n>               connections made and ended, n at a time
  idle-<n>[-tls]            memory of n connections that say nothing
  subs-<n>                  messages beside n subscriptions that match none
  offline-<n>-<m>           m messages kept for each of n sessions, then fetched

Unpaced, the loop is closed: each publisher goes on as deliveries (QoS 0) or
acknowledgements (QoS 1, 2) come back. Paced, it is open, and latency counts from
the time a message was due. A preset is a list of scenarios: speed, trickle, idle,
growth, offline, all.

A target is name=host:port[,pid=N][,tls=host:port], or
name=exec:COMMAND ARGS…@host:port[,tls=host:port] to have it started and ended by
bench; {port}, {tlsport} and {dir} stand for free ports and an empty directory. No
shell is involved; quotes keep blanks together. "bench relay" is a target that
copies bytes and nothing else: what it reaches is the ceiling of bench itself.

  pushhub bench --preset speed --repeats 5 \
    --target 'pushhub=exec:pushhub serve …@127.0.0.1:{port}' \
    --target 'mosquitto=exec:mosquitto -c bench.conf -p {port}@127.0.0.1:{port}' \
    --target 'relay=exec:pushhub bench relay 127.0.0.1:{port}@127.0.0.1:{port}'`

// benchCommand measures brokers against each other.
func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure MQTT brokers: deliveries for each second of server CPU",
		Description: benchDescription,
		Flags:       benchFlags(),
		Action:      runBench,
		Subcommands: []*cli.Command{{
			Name:      "relay",
			Usage:     "be a target that only copies bytes: the ceiling of what bench can show",
			ArgsUsage: "HOST:PORT",
			Action:    runRelay,
		}},
	}
}

func benchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: "target", Usage: "broker to measure (repeatable)", Value: &benchTargets{}},
		&cli.StringFlag{Name: "scenario", Usage: "comma-separated `NAMES`", DefaultText: "q0-1-1,q0-50-50,q1-20-20"},
		&cli.StringFlag{Name: "preset", Usage: "comma-separated `NAMES` of " + strings.Join(load.Presets(), ", ")},
		&cli.BoolFlag{Name: "trickle", Usage: "the preset trickle"},
		&cli.IntFlag{Name: "idle", Usage: "memory of `N` idle connections"},
		&cli.BoolFlag{Name: "tls", Usage: "idle connections over TLS as well, where the target has tls="},
		&cli.BoolFlag{Name: "growth", Usage: "the preset growth"},
		&cli.StringFlag{Name: "base", Usage: "target `NAME` that ratios refer to (default: the first)"},
		&cli.IntFlag{Name: "runs", Aliases: []string{"repeats"}, Usage: "measured windows a scenario and target", Value: 5},
		&cli.DurationFlag{Name: "duration", Usage: "length of a measured window", Value: 3 * time.Second},
		&cli.DurationFlag{Name: "warmup", Usage: "the same traffic before it", Value: 500 * time.Millisecond},
		&cli.IntFlag{Name: "payload", Usage: "payload in `BYTES`; from 16 on latency is measured", Value: 100},
		&cli.Float64Flag{Name: "rate", Usage: "messages published a second in total", DefaultText: "saturate"},
		&cli.IntFlag{Name: "window", Usage: "messages under way in a group when saturating", DefaultText: "as many as no broker drops"},
		&cli.DurationFlag{Name: "settle", Usage: "between two readings of a memory that must stand still", Value: 500 * time.Millisecond},
		&cli.StringFlag{Name: "user", Usage: "user name for every client"},
		&cli.StringFlag{Name: "password", Usage: "its password", EnvVars: []string{"PUSHBENCH_PASSWORD"}},
		&cli.BoolFlag{Name: "allow-remote", Usage: "permit targets beyond loopback"},
		&cli.BoolFlag{Name: "json", Usage: "print every run as JSON instead of tables"},
		&cli.PathFlag{Name: "save", Usage: "write every run as JSON to `FILE` as well"},
	}
}

// benchPlan is the list of scenarios that the flags ask for, each once.
func benchPlan(c *cli.Context) ([]load.Scenario, error) {
	presets := c.String("preset")
	for _, name := range []string{"trickle", "growth"} {
		if c.Bool(name) {
			presets = strings.TrimPrefix(presets+","+name, ",")
		}
	}
	var plan []load.Scenario
	if presets != "" {
		var err error
		if plan, err = load.ParsePresets(presets); err != nil {
			return nil, err
		}
	}
	names := c.String("scenario")
	if n := c.Int("idle"); c.IsSet("idle") {
		names = strings.TrimPrefix(fmt.Sprintf("%s,idle-%d", names, n), ",")
	}
	if names == "" && len(plan) == 0 {
		names = "q0-1-1,q0-50-50,q1-20-20"
	}
	if names != "" {
		more, err := load.ParseScenarios(names)
		if err != nil {
			return nil, err
		}
		for _, s := range more {
			if !slices.Contains(plan, s) {
				plan = append(plan, s)
			}
		}
	}
	if c.Bool("tls") {
		return withTLS(plan)
	}
	return plan, nil
}

// withTLS sets behind each scenario of idle connections the same over TLS.
func withTLS(plan []load.Scenario) ([]load.Scenario, error) {
	var out []load.Scenario
	idle := false
	for _, s := range plan {
		out = append(out, s)
		if s.Kind != load.Idle {
			continue
		}
		idle, s.TLS = true, true
		if !slices.Contains(plan, s) {
			out = append(out, s)
		}
	}
	if !idle {
		return nil, errors.New("--tls wants scenarios of idle connections")
	}
	return out, nil
}

func runRelay(c *cli.Context) error {
	if c.NArg() != 1 {
		return errors.New("relay wants HOST:PORT to listen on")
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return load.Relay(ctx, c.Args().First())
}

// benchTargets collects --target as given: commands may hold commas, at which
// a string slice flag would cut them.
type benchTargets struct{ list []load.Target }

// Set adds one target.
func (b *benchTargets) Set(text string) error {
	t, err := load.ParseTarget(text)
	if err != nil {
		return err
	}
	b.list = append(b.list, t)
	return nil
}

// String is what the help shows as the default: nothing.
func (b *benchTargets) String() string { return "" }

func runBench(c *cli.Context) error {
	scenarios, err := benchPlan(c)
	if err != nil {
		return err
	}
	targets, ok := c.Generic("target").(*benchTargets)
	if !ok || len(targets.list) == 0 {
		return errors.New("no target given; --target name=host:port")
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	report, benchErr := load.Bench(ctx, load.Options{
		Targets: targets.list, Scenarios: scenarios, Base: c.String("base"),
		Runs: c.Int("runs"), Duration: c.Duration("duration"), Warmup: c.Duration("warmup"),
		Payload: c.Int("payload"), Rate: c.Float64("rate"), Window: c.Int("window"), Settle: c.Duration("settle"),
		Login:       load.Login{User: c.String("user"), Password: c.String("password")},
		AllowRemote: c.Bool("allow-remote"),
		Progress: func(r load.Run) {
			fmt.Fprintf(c.App.ErrWriter, "%s %s run %d %s: %d in %.1f s %s\n",
				r.Scenario, r.Phase, r.Number, r.Target, r.Delivered, r.Seconds, r.Error)
		},
	})
	if len(report.Runs) == 0 {
		return benchErr
	}
	if path := c.Path("save"); path != "" {
		benchErr = errors.Join(benchErr, saveReport(report, path))
	}
	if c.Bool("json") {
		return errors.Join(report.WriteJSON(c.App.Writer), benchErr)
	}
	return errors.Join(report.WriteTable(c.App.Writer), benchErr)
}

func saveReport(report load.Report, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("saving the runs: %w", err)
	}
	return errors.Join(report.WriteJSON(file), file.Close())
}

package main

import (
	"errors"
	"fmt"
	"os/signal"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/compare/load"
)

const benchDescription = `Drives any MQTT 3.1.1 brokers with the same traffic, one run after the
other on each in turn, and prints deliveries for each second of the server's CPU time.

A scenario is q<QoS>-<publishers>-<subscribers>: equal counts are pairs on their
own topics, N-1 fans in, 1-N fans out. Without --rate the loop is closed: each
publisher goes on as deliveries (QoS 0) or acknowledgements (QoS 1, 2) come
back. With --rate it is open, and latency counts from the time a message was due.

A target is name=host:port[,pid=N], or name=exec:COMMAND ARGS…@host:port to have
it started and ended by bench; {port} and {dir} stand for a free port and an
empty directory. No shell is involved; quotes keep blanks together.

  pushhub bench \
    --target 'pushhub=exec:pushhub serve …@127.0.0.1:{port}' \
    --target 'mosquitto=exec:mosquitto -c bench.conf -p {port}@127.0.0.1:{port}'`

// benchCommand measures brokers against each other.
func benchCommand() *cli.Command {
	return &cli.Command{
		Name:        "bench",
		Usage:       "measure MQTT brokers: deliveries for each second of server CPU",
		Description: benchDescription,
		Flags:       benchFlags(),
		Action:      runBench,
	}
}

func benchFlags() []cli.Flag {
	return []cli.Flag{
		&cli.GenericFlag{Name: "target", Usage: "broker to measure (repeatable)", Value: &benchTargets{}, Required: true},
		&cli.StringFlag{Name: "scenario", Usage: "comma-separated `NAMES`", Value: "q0-1-1,q0-50-50,q1-20-20"},
		&cli.StringFlag{Name: "base", Usage: "target `NAME` that ratios refer to (default: the first)"},
		&cli.IntFlag{Name: "runs", Usage: "measured windows a scenario and target", Value: 5},
		&cli.DurationFlag{Name: "duration", Usage: "length of a measured window", Value: 3 * time.Second},
		&cli.DurationFlag{Name: "warmup", Usage: "the same traffic before it", Value: 500 * time.Millisecond},
		&cli.IntFlag{Name: "payload", Usage: "payload in `BYTES`; from 16 on latency is measured", Value: 100},
		&cli.Float64Flag{Name: "rate", Usage: "messages published a second in total", DefaultText: "saturate"},
		&cli.IntFlag{Name: "window", Usage: "messages under way in a group when saturating", DefaultText: "as many as no broker drops"},
		&cli.StringFlag{Name: "user", Usage: "user name for every client"},
		&cli.StringFlag{Name: "password", Usage: "its password", EnvVars: []string{"PUSHBENCH_PASSWORD"}},
		&cli.BoolFlag{Name: "allow-remote", Usage: "permit targets beyond loopback"},
		&cli.BoolFlag{Name: "json", Usage: "print every run as JSON instead of tables"},
	}
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
	scenarios, err := load.ParseScenarios(c.String("scenario"))
	if err != nil {
		return err
	}
	targets, ok := c.Generic("target").(*benchTargets)
	if !ok {
		return errors.New("no target given")
	}
	ctx, stop := signal.NotifyContext(c.Context, syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	report, benchErr := load.Bench(ctx, load.Options{
		Targets: targets.list, Scenarios: scenarios, Base: c.String("base"),
		Runs: c.Int("runs"), Duration: c.Duration("duration"), Warmup: c.Duration("warmup"),
		Payload: c.Int("payload"), Rate: c.Float64("rate"), Window: c.Int("window"),
		Login:       load.Login{User: c.String("user"), Password: c.String("password")},
		AllowRemote: c.Bool("allow-remote"),
		Progress: func(r load.Run) {
			fmt.Fprintf(c.App.ErrWriter, "%s run %d %s: %d in %.1f s %s\n",
				r.Scenario, r.Number, r.Target, r.Delivered, r.Seconds, r.Error)
		},
	})
	if len(report.Runs) == 0 {
		return benchErr
	}
	if c.Bool("json") {
		return errors.Join(report.WriteJSON(c.App.Writer), benchErr)
	}
	return errors.Join(report.WriteTable(c.App.Writer), benchErr)
}

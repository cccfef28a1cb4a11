package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/config"
)

const demoDescription = `Starts a hub of its own on free ports of this machine, connects four devices to
it (MQTT 3.1.1, MQTT 5, XMPP and an androidpn app), and shows what they exchange:
who told whom what over which protocols, how long it took and how many bytes
crossed each wire. Nothing is left behind.

A line's bytes are up/down on the sender's wire, then on the receiver's, while
that line went on; acknowledgements may fall into the next one.`

// demoPassword is that of the demo's accounts, which live as long as it does.
const demoPassword = "secret"

func demoCommand() *cli.Command {
	return &cli.Command{
		Name: "demo", Usage: "show MQTT and XMPP devices talking to each other", Description: demoDescription,
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "once", Usage: "end after the show: with 0 when everything arrived, else with 1"},
			&cli.BoolFlag{Name: "json", Usage: "print the timeline as JSON lines"},
		},
		Action: runDemo,
	}
}

func runDemo(c *cli.Context) (err error) {
	dir, err := os.MkdirTemp("", "pushhub-demo-")
	if err != nil {
		return fmt.Errorf("making a directory for the demo: %w", err)
	}
	defer os.RemoveAll(dir)
	cfg, err := demoConfig(dir)
	if err != nil {
		return err
	}
	log := slog.New(slog.NewTextHandler(c.App.ErrWriter, &slog.HandlerOptions{Level: slog.LevelError}))
	start := time.Now()
	h, err := startHub(c.Context, cfg, log)
	if err != nil {
		return fmt.Errorf("starting the demo's hub: %w", err)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(c.Context), drainTime)
		defer cancel()
		err = errors.Join(err, h.Close(ctx))
	}()
	out := &timeline{out: c.App.Writer, json: c.Bool("json")}
	if err := out.begin(h, time.Since(start)); err != nil {
		return err
	}
	s := newStage(h, cfg.Domain, out)
	failed, err := s.play(c.Context)
	switch {
	case errors.Is(err, context.Canceled):
		return cli.Exit("interrupted before the end", exitFailure)
	case err != nil:
		return err
	case c.Bool("once") && failed > 0:
		return cli.Exit(fmt.Sprintf("%d of %d deliveries failed", failed, out.lines), exitFailure)
	case c.Bool("once"):
		return nil
	}
	return stayUp(c, h)
}

// demoConfig is the default of serve, on free ports and in a directory of its
// own. What the environment sets for a real hub is not for this one.
func demoConfig(dir string) (config.Config, error) {
	const free = "127.0.0.1:0"
	return config.Load("", nil, map[string]string{
		"data_dir": dir, "mqtt.listen": free, "mqtt.tls_listen": free, "xmpp.listen": free, "xmpp.tls_listen": free,
	})
}

// stayUp leaves the hub to whoever wants to try it, until Ctrl-C.
func stayUp(c *cli.Context, h *hub) error {
	if !c.Bool("json") {
		_, err := fmt.Fprintf(c.App.Writer, `
The hub stays up until Ctrl-C. Try, each in a terminal of its own:
  pushhub sub --server %[1]s -u gateway -P %[3]s 'plant/#'
  pushhub sub --proto xmpp --server %[2]s -u ada -P %[3]s 'plant/#'
  pushhub pub --server %[1]s -u thermo -P %[3]s plant/7/temp 22.5
`, h.MQTTAddr(), h.XMPPAddr(), demoPassword)
		if err != nil {
			return err
		}
	}
	select {
	case <-c.Context.Done():
		return nil
	case err := <-h.failed:
		return err
	}
}

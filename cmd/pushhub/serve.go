package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/config"
)

// drainTime is how long devices get to take their goodbye.
const drainTime = 15 * time.Second

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:  "serve",
		Usage: "run the hub",
		Flags: append(configFlags(), &cli.BoolFlag{Name: "json", Usage: "print one JSON line when ready"}),
		Action: func(c *cli.Context) error {
			cfg, err := loadConfig(c)
			if err != nil {
				return err
			}
			return serve(c, cfg)
		},
	}
}

func serve(c *cli.Context, cfg config.Config) error {
	log := newLog(cfg.Log, os.Stderr)
	again := make(chan os.Signal, 1) // sent by the system, never closed; one waiting stands for all
	signal.Notify(again, syscall.SIGHUP)
	defer signal.Stop(again)
	h, err := startHub(c.Context, cfg, log)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c, map[string]string{
			"event": "ready", "mqtt": h.MQTTAddr(), "mqtts": h.MQTTSAddr(), "xmpp": h.XMPPAddr(), "xmpps": h.XMPPSAddr(),
			"ws": h.WSAddr(), "wss": h.WSSAddr(), "unix": h.UnixAddr(),
		})
	} else {
		err = banner(c.App.Writer, h, cfg)
	}
	if err == nil {
		err = stay(c.Context, h, again, log)
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if cerr := h.Close(ctx); err == nil {
		err = cerr
	}
	return err
}

// stay returns when the hub is to stop. again (SIGHUP) has it read its certificates again.
func stay(ctx context.Context, h *hub, again <-chan os.Signal, log *slog.Logger) error {
	for {
		select {
		case <-again:
			h.keys.reload()
		case <-ctx.Done():
			log.Info("stopping; a second signal stops at once")
			return nil
		case err := <-h.failed:
			return err
		}
	}
}

// banner says where the hub listens and what to try first.
func banner(w io.Writer, h *hub, cfg config.Config) error {
	var open strings.Builder
	for _, l := range []struct{ name, addr, path string }{
		{"MQTT", h.MQTTAddr(), ""},
		{"MQTT, TLS", h.MQTTSAddr(), ""},
		{"MQTT, ws", h.WSAddr(), cfg.MQTT.WSPath},
		{"MQTT, wss", h.WSSAddr(), cfg.MQTT.WSPath},
		{"MQTT, unix", h.UnixAddr(), ""},
		{"XMPP", h.XMPPAddr(), ""},
		{"XMPP, TLS", h.XMPPSAddr(), ""},
	} {
		if l.addr != "" {
			fmt.Fprintf(&open, "  %-14s %s\n", l.name, l.addr+l.path)
		}
	}
	who := ""
	if !cfg.AnonymousAllowed() {
		who = " -u NAME -P PASSWORD"
	}
	_, err := fmt.Fprintf(w, `pushhub %s, domain %s, data in %s
%s
Try, each in a terminal of its own:
  pushhub user add ada --password secret --data-dir %[3]s
  pushhub sub --server %[5]s%[7]s 'plant/#'
  pushhub sub --proto xmpp --server %[6]s -u ada -P secret 'plant/#'
  pushhub pub --server %[5]s%[7]s plant/7/temp 21.5
`,
		version(), cfg.Domain, cfg.DataDir,
		open.String(), h.MQTTAddr(), h.XMPPAddr(), who)
	return err
}

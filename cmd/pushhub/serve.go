package main

import (
	"context"
	"fmt"
	"io"
	"os"
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
	h, err := startHub(c.Context, cfg, log)
	if err != nil {
		return err
	}
	if c.Bool("json") {
		err = printJSON(c, map[string]string{
			"event": "ready", "mqtt": h.MQTTAddr(), "mqtts": h.MQTTSAddr(), "xmpp": h.XMPPAddr(), "xmpps": h.XMPPSAddr(),
		})
	} else {
		err = banner(c.App.Writer, h, cfg)
	}
	if err == nil {
		select {
		case <-c.Context.Done():
			log.Info("stopping; a second signal stops at once")
		case err = <-h.failed:
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if cerr := h.Close(ctx); err == nil {
		err = cerr
	}
	return err
}

// banner says where the hub listens and what to try first.
func banner(w io.Writer, h *hub, cfg config.Config) error {
	open := func(name, addr string) string {
		if addr == "" {
			return ""
		}
		return fmt.Sprintf("  %-14s %s\n", name, addr)
	}
	who := ""
	if !cfg.AnonymousAllowed() {
		who = " -u NAME -P PASSWORD"
	}
	_, err := fmt.Fprintf(w, `pushhub %s, domain %s, data in %s
%s%s%s%s
Try, each in a terminal of its own:
  pushhub user add ada --password secret --data-dir %[3]s
  pushhub sub --server %[8]s%[10]s 'plant/#'
  pushhub sub --proto xmpp --server %[9]s -u ada -P secret 'plant/#'
  pushhub pub --server %[8]s%[10]s plant/7/temp 21.5
`,
		version(), cfg.Domain, cfg.DataDir,
		open("MQTT", h.MQTTAddr()), open("MQTT, TLS", h.MQTTSAddr()), open("XMPP", h.XMPPAddr()), open("XMPP, TLS", h.XMPPSAddr()),
		h.MQTTAddr(), h.XMPPAddr(), who)
	return err
}

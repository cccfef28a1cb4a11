package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"pushhub/config"
)

func jsonFlag() cli.Flag {
	return &cli.BoolFlag{Name: "json", Usage: "print JSON"}
}

func printJSON(c *cli.Context, v any) error {
	return json.NewEncoder(c.App.Writer).Encode(v)
}

// flagName is the flag of a setting: mqtt.tls_listen is --mqtt-tls-listen.
func flagName(key string) string { return strings.NewReplacer(".", "-", "_", "-").Replace(key) }

// configFlags has one flag for each setting.
func configFlags() []cli.Flag {
	flags := []cli.Flag{&cli.StringFlag{Name: "config", Usage: "read settings from `FILE`", EnvVars: []string{"PUSHHUB_CONFIG"}}}
	for _, key := range config.Keys() {
		if key == "insecure" {
			flags = append(flags, &cli.BoolFlag{Name: key, Usage: "permit what is refused as unsafe", Category: "SETTINGS"})
			continue
		}
		flags = append(flags, &cli.StringFlag{Name: flagName(key), Usage: "set " + key, Category: "SETTINGS"})
	}
	return flags
}

// loadConfig puts the settings together and checks them.
func loadConfig(c *cli.Context) (config.Config, error) {
	overrides := map[string]string{}
	for _, key := range config.Keys() {
		if name := flagName(key); c.IsSet(name) {
			overrides[key] = fmt.Sprint(c.Value(name))
		}
	}
	cfg, err := config.Load(c.String("config"), os.Environ(), overrides)
	if err != nil {
		return cfg, cli.Exit(err.Error(), exitUsage)
	}
	if problems := cfg.Check(); len(problems) > 0 {
		lines := make([]string, len(problems))
		for i, p := range problems {
			lines[i] = p.Error()
		}
		return cfg, cli.Exit(strings.Join(lines, "\n"), exitUsage)
	}
	return cfg, nil
}

// logLevels by the names that log.level takes.
var logLevels = map[string]slog.Level{
	"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError,
}

func newLog(cfg config.Log, w io.Writer) *slog.Logger {
	opt := &slog.HandlerOptions{Level: logLevels[cfg.Level]}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(w, opt))
	}
	return slog.New(slog.NewTextHandler(w, opt))
}

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "check and show the settings",
		Subcommands: []*cli.Command{
			{
				Name:  "check",
				Usage: "say what is wrong with the settings, if anything",
				Flags: append(configFlags(), jsonFlag()),
				Action: func(c *cli.Context) error {
					_, err := loadConfig(c)
					if c.Bool("json") {
						report := map[string]any{"ok": err == nil}
						if err != nil {
							report["problems"] = strings.Split(err.Error(), "\n")
						}
						if jerr := printJSON(c, report); jerr != nil || err == nil {
							return jerr
						}
						return cli.Exit("", exitUsage)
					}
					if err == nil {
						_, err = fmt.Fprintln(c.App.Writer, "the settings are good")
					}
					return err
				},
			},
			{
				Name:  "show",
				Usage: "print every setting and where its value came from",
				Flags: append(configFlags(), &cli.BoolFlag{Name: "secrets", Usage: "show passwords in URLs"}),
				Action: func(c *cli.Context) error {
					cfg, err := loadConfig(c)
					if err != nil {
						return err
					}
					_, err = c.App.Writer.Write(config.Show(cfg, !c.Bool("secrets")))
					return err
				},
			},
		},
	}
}

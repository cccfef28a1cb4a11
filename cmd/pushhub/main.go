// Command pushhub is a server that speaks MQTT and XMPP over one core, and the
// tools to run it. One file a verb; hub.go is the wiring.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/urfave/cli/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	app := &cli.App{
		Name:            "pushhub",
		Usage:           "one hub for MQTT and XMPP devices",
		HideHelpCommand: true,
		Version:         version(),
		Commands: []*cli.Command{
			serveCommand(), demoCommand(), userCommand(), pubCommand(), subCommand(),
			backupCommand(), restoreCommand(),
			configCommand(), benchCommand(), versionCommand(),
		},
		ExitErrHandler: func(*cli.Context, error) {}, // main says it, once
	}
	os.Exit(exitWith(app.RunContext(ctx, os.Args)))
}

// exitWith prints an error and returns its exit code.
func exitWith(err error) int {
	if err == nil {
		return 0
	}
	if text := err.Error(); text != "" {
		fmt.Fprintln(os.Stderr, "pushhub:", text)
	}
	var coded cli.ExitCoder
	if errors.As(err, &coded) {
		return coded.ExitCode()
	}
	return exitFailure
}

// version is the module's version, or the commit it was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.revision" {
			return "devel+" + s.Value[:min(12, len(s.Value))]
		}
	}
	return "devel"
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Flags: []cli.Flag{jsonFlag()},
		Action: func(c *cli.Context) error {
			if c.Bool("json") {
				return printJSON(c, map[string]string{"version": version()})
			}
			_, err := fmt.Fprintln(c.App.Writer, version())
			return err
		},
	}
}

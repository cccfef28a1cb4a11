// Command mochi runs an unmodified mochi-mqtt server with an allow-all hook on
// one TCP address: the peer that pushhub is measured against. It must stay
// stock; a tuned peer belongs beside it under its own name.
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/listeners"
	"github.com/mochi-mqtt/server/v2/packets"
)

// allowAll admits every client to every topic.
type allowAll struct{ mqtt.HookBase }

// ID names the hook in mochi's log.
func (allowAll) ID() string { return "allow-all" }

// Provides tells mochi which of the methods to call.
func (allowAll) Provides(b byte) bool {
	return b == mqtt.OnConnectAuthenticate || b == mqtt.OnACLCheck
}

// OnConnectAuthenticate admits every client.
func (allowAll) OnConnectAuthenticate(*mqtt.Client, packets.Packet) bool { return true }

// OnACLCheck permits every topic.
func (allowAll) OnACLCheck(*mqtt.Client, string, bool) bool { return true }

func main() {
	addr := flag.String("addr", "127.0.0.1:1883", "host:port to listen on")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := serve(ctx, *addr); err != nil {
		fmt.Fprintln(os.Stderr, "mochi:", err)
		os.Exit(1)
	}
}

// serve runs until ctx ends.
func serve(ctx context.Context, addr string) error {
	quiet := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelError}))
	server := mqtt.New(&mqtt.Options{Logger: quiet})
	if err := server.AddHook(new(allowAll), nil); err != nil {
		return fmt.Errorf("adding the allow-all hook: %w", err)
	}
	if err := server.AddListener(listeners.NewTCP(listeners.Config{ID: "tcp", Address: addr})); err != nil {
		return fmt.Errorf("listening on %s: %w", addr, err)
	}
	if err := server.Serve(); err != nil {
		return fmt.Errorf("serving: %w", err)
	}
	<-ctx.Done()
	return server.Close()
}

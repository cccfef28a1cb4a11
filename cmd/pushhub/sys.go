package main

import (
	"context"
	"runtime/debug"

	"pushhub/config"
	"pushhub/core"
)

// startSys keeps the $SYS tree until the router is stopped.
func (h *hub) startSys(ctx context.Context, cfg config.Config) {
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	stopRouter := h.stop
	h.stop = func() {
		stop()
		stopRouter()
	}
	opt := core.SysOptions{
		Every: cfg.MQTT.SysInterval, Version: version(), Built: built(),
		Fronts: []core.Meter{h.mqtt, h.xmpp},
	}
	h.start(func() error { return h.router.RunSys(run, opt) })
}

// built is when the source of this binary was committed, or "" where that is unknown.
func built() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, s := range info.Settings {
		if s.Key == "vcs.time" {
			return s.Value
		}
	}
	return ""
}

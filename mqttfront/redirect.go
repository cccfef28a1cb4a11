package mqttfront

import (
	"context"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
)

// A redirect is why a client is sent to another server, MQTT 5 §4.11.
type redirect struct {
	code   packets.Code
	server string // the Server Reference; empty: the client has to know
}

func (r *redirect) Error() string {
	if r.server == "" {
		return r.code.Reason
	}
	return r.code.Reason + ": " + r.server
}

func (r *redirect) Unwrap() error { return r.code }

func (o *Options) redirect(reference string) *redirect {
	if reference == "" {
		reference = o.Redirect
	}
	if o.Moved {
		return &redirect{packets.ErrServerMoved, reference}
	}
	return &redirect{packets.ErrUseAnotherServer, reference}
}

// stopping is why connections end at a shutdown.
func (f *Front) stopping() error {
	if r := f.draining.Load(); r != nil {
		return r
	}
	if f.opt.Redirect != "" {
		return f.opt.redirect("")
	}
	return core.ErrStopped
}

// drainLook is how often Drain looks whether all have left.
const drainLook = 50 * time.Millisecond

// Drain sends all clients to another server, and those who come from now on, while
// the listeners stay open: MQTT 5 clients are told where (reference, such as
// "hub2.example.org:1883"; empty: Options.Redirect), others are just closed, or told
// that the server is unavailable. It returns when all sessions have left their
// connections, within about a second; when ctx ends first, with an error. There is
// no way back but a new Front.
func (f *Front) Drain(ctx context.Context, reference string) error {
	// Each connection finds it at its next Tick: nobody has to know them all.
	f.draining.Store(f.opt.redirect(reference))
	look := time.NewTicker(drainLook)
	defer look.Stop()
	for {
		left := f.attached.Load()
		if left <= 0 {
			return nil
		}
		select {
		case <-look.C:
		case <-ctx.Done():
			return fmt.Errorf("draining: %d clients are still there: %w", left, ctx.Err())
		}
	}
}

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/compare/device"
)

const subDescription = `Prints what is published to topics (filters with + and #), until Ctrl-C:

  pushhub sub 'plant/+/temp'
  pushhub sub --proto xmpp -u ada -P secret 'plant/#'
  pushhub sub -u ada -P secret --inbox

Over XMPP it is available while it runs: it also prints messages, those that
waited for the account too, and the presence of contacts. Bytes that are no text
are printed in base64.

Exit codes: 0 done, 1 failed, 2 wrong command line, 3 refused, 4 no hub answers,
5 fewer than --count messages came within --timeout.`

func subCommand() *cli.Command {
	return &cli.Command{
		Name: "sub", Usage: "print what is published to topics", ArgsUsage: "TOPIC…", Description: subDescription,
		Flags: append(deviceFlags(),
			&cli.BoolFlag{Name: "inbox", Usage: "print the messages to one's own inbox"},
			&cli.IntFlag{Name: "count", Usage: "end after `N` messages; presence does not count (0: never)"},
			&cli.DurationFlag{Name: "timeout", Usage: "end after this time (0: never)"},
			&cli.BoolFlag{Name: "keep", Usage: "have the hub keep the session of --id for an hour, and what arrives meanwhile (mqtt)"}),
		Action: runSub,
	}
}

// errEnough says that as many messages as wanted came.
var errEnough = errors.New("enough")

func runSub(c *cli.Context) error {
	filters, err := operands(c)
	if err != nil {
		return err
	}
	o, err := readDeviceOptions(c)
	switch {
	case err != nil:
		return err
	case len(filters) == 0 && !c.Bool("inbox"):
		return usage(c, "sub takes topics, or --inbox")
	case c.Bool("inbox") && o.user == "":
		return usage(c, "--inbox needs to know who you are: give -u NAME -P PASSWORD")
	case c.Bool("keep") && (o.proto == protoXMPP || !c.IsSet("id")):
		return usage(c, "--keep needs an MQTT client's --id, by which its session is found again")
	case c.Int("count") < 0:
		return usage(c, "--count is a number of messages, not %d", c.Int("count"))
	}
	if c.Bool("inbox") && o.proto == protoMQTT {
		filters = append(filters, "$inbox/"+o.user+"/#")
	}
	ctx, cancel := context.WithCancelCause(c.Context)
	defer cancel(nil)
	if d := c.Duration("timeout"); d > 0 {
		timer := time.AfterFunc(d, func() { cancel(context.DeadlineExceeded) })
		defer timer.Stop()
	}
	ready := func() { fmt.Fprintf(c.App.ErrWriter, "listening at %s; Ctrl-C ends\n", o.Address) }
	out := &printer{out: c.App.Writer, ready: ready, json: c.Bool("json"), user: o.user, domain: o.domain, wanted: c.Int("count")}
	if o.proto == protoXMPP {
		err = subXMPP(ctx, &o, filters, out)
	} else {
		err = subMQTT(ctx, &o, filters, c.Bool("keep"), out)
	}
	switch {
	case errors.Is(err, errEnough):
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded) && out.wanted == 0:
		return nil
	case errors.Is(context.Cause(ctx), context.DeadlineExceeded):
		return cli.Exit(fmt.Sprintf("%d of %d messages came within %v", out.came, out.wanted, c.Duration("timeout")), exitTimeout)
	}
	return exitClient(err, o.proto, o.Address)
}

func subMQTT(ctx context.Context, o *deviceOptions, filters []string, keep bool, out *printer) error {
	opt := o.mqtt()
	if keep {
		opt.Clean, opt.Expiry = false, time.Hour
	}
	m, err := device.ConnectMQTT(ctx, opt)
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.Subscribe(ctx, o.qos, filters...); err != nil {
		return err
	}
	out.ready()
	for {
		select {
		case msg, ok := <-m.Messages():
			if !ok {
				return whyEnded(m.Err())
			}
			if err := out.message(msg); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func subXMPP(ctx context.Context, o *deviceOptions, filters []string, out *printer) error {
	x, err := device.ConnectXMPP(ctx, o.xmpp())
	if err != nil {
		return err
	}
	defer x.Close()
	if _, err := x.Roster(ctx); err != nil {
		return err
	}
	if err := x.Presence("", ""); err != nil {
		return err
	}
	for _, f := range filters {
		if err := x.Subscribe(ctx, f); err != nil {
			return err
		}
	}
	out.self = x.JID()
	out.ready()
	for {
		select {
		case e, ok := <-x.Events():
			if !ok {
				return whyEnded(x.Err())
			}
			if err := out.event(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func whyEnded(err error) error {
	if err == nil {
		err = device.ErrClosed
	}
	return fmt.Errorf("the hub ended the connection: %w", err)
}

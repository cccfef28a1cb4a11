package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/compare/device"
)

const pubDescription = `Publishes MESSAGE (- is standard input) to TOPIC, over either protocol:

  pushhub pub plant/7/temp 21.5
  pushhub pub --proto xmpp -u ada -P secret --retain plant/7/temp 21.5
  pushhub pub -u ada -P secret --to bob "hello"

Exit codes: 0 published, 1 failed, 2 wrong command line, 3 refused, 4 no hub answers.`

// maxMessage bounds what is read from standard input, in bytes.
const maxMessage = 64 << 20

func pubCommand() *cli.Command {
	return &cli.Command{
		Name: "pub", Usage: "publish one message", ArgsUsage: "TOPIC MESSAGE | --to NAME MESSAGE", Description: pubDescription,
		Flags: append(deviceFlags(),
			&cli.BoolFlag{Name: "retain", Usage: "keep it as the topic's last value, for later subscribers"},
			&cli.StringFlag{Name: "to", Usage: "send it to the inbox of the account `NAME` instead"},
			&cli.DurationFlag{Name: "timeout", Usage: "for each answer of the hub", Value: device.DefaultTimeout}),
		Action: runPub,
	}
}

// publication is what pub prints as JSON.
type publication struct {
	Proto  string  `json:"proto"`
	Topic  string  `json:"topic,omitempty"`
	To     string  `json:"to,omitempty"`
	Bytes  int     `json:"bytes"` // of the payload
	Retain bool    `json:"retain"`
	QoS    *byte   `json:"qos,omitempty"`
	Up     int64   `json:"up"`   // bytes on the wire, connect and goodbye included
	Down   int64   `json:"down"` // likewise
	Millis float64 `json:"ms"`   // from the connection to the hub's acknowledgement
}

func runPub(c *cli.Context) error {
	args, err := operands(c)
	if err != nil {
		return err
	}
	to, wanted := c.String("to"), 2
	if to != "" {
		wanted = 1
	}
	if len(args) != wanted {
		return usage(c, "pub takes TOPIC MESSAGE, or --to NAME MESSAGE: got %d arguments", len(args))
	}
	o, err := readDeviceOptions(c)
	if err != nil {
		return err
	}
	o.Timeout, o.Meter = c.Duration("timeout"), new(device.Meter)
	payload := []byte(args[wanted-1])
	if args[wanted-1] == "-" {
		if payload, err = readMessage(c.App.Reader); err != nil {
			return err
		}
	}
	p := publication{Proto: o.proto, To: to, Bytes: len(payload), Retain: c.Bool("retain")}
	if to == "" {
		p.Topic = args[0]
	}
	start := time.Now()
	if o.proto == protoXMPP {
		err = pubXMPP(c.Context, &o, p, payload)
	} else {
		err = pubMQTT(c, &o, &p, payload)
	}
	var r *device.Refusal
	if to != "" && errors.As(err, &r) && (r.Code == "0x90" || r.Code == "service-unavailable") {
		return cli.Exit(fmt.Sprintf("%v\nis there an account %q? see: pushhub user list", err, to), exitFailure)
	}
	if err != nil {
		return exitClient(err, o.proto, o.Address)
	}
	if !c.Bool("json") {
		return nil
	}
	t := o.Meter.Traffic()
	p.Up, p.Down, p.Millis = t.Up, t.Down, float64(time.Since(start).Microseconds())/1000
	return printJSON(c, p)
}

func readMessage(in io.Reader) ([]byte, error) {
	if in == nil {
		in = os.Stdin
	}
	payload, err := io.ReadAll(io.LimitReader(in, maxMessage+1))
	if err != nil {
		return nil, fmt.Errorf("reading the message from standard input: %w", err)
	}
	if len(payload) > maxMessage {
		return nil, cli.Exit(fmt.Sprintf("the message is larger than %d bytes", maxMessage), exitUsage)
	}
	return payload, nil
}

func pubMQTT(c *cli.Context, o *deviceOptions, p *publication, payload []byte) error {
	topic := p.Topic
	if p.To != "" {
		if o.user == "" {
			return usage(c, "--to needs to know who you are: give -u NAME -P PASSWORD")
		}
		topic = "$inbox/" + p.To + "/" + o.user
	}
	p.QoS = &o.qos
	m, err := device.ConnectMQTT(c.Context, o.mqtt())
	if err != nil {
		return err
	}
	defer m.Kill() // after Close, nothing
	msg := device.Message{Topic: topic, Payload: payload, QoS: o.qos, Retain: p.Retain}
	if err := m.Publish(c.Context, msg); err != nil {
		return err
	}
	return m.Close()
}

func pubXMPP(ctx context.Context, o *deviceOptions, p publication, payload []byte) error {
	x, err := device.ConnectXMPP(ctx, o.xmpp())
	if err != nil {
		return err
	}
	defer x.Kill() // after Close, nothing
	if p.To == "" {
		if err := x.Publish(ctx, p.Topic, payload, p.Retain); err != nil {
			return err
		}
		return x.Close()
	}
	to := p.To
	if !strings.Contains(to, "@") {
		to += "@" + x.Domain()
	}
	id, err := x.SendMessage(to, "chat", payload)
	if err != nil {
		return err
	}
	if err := x.Ping(ctx); err != nil { // the hub has read the message now
		return err
	}
	if err := x.Close(); err != nil {
		return err
	}
	for e := range x.Events() {
		if e.Kind == device.KindMessage && e.Type == "error" && e.ID == id {
			return &device.Refusal{What: "message to " + to, Code: e.Error, Denied: e.Error == "forbidden"}
		}
	}
	return nil
}

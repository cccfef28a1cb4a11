package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v2"

	"pushhub/compare/device"
)

// The exit codes, the same for every verb. Scripts rely on them.
const (
	exitFailure     = 1 // whatever has no code of its own
	exitUsage       = 2 // the command line or the settings are wrong
	exitRefused     = 3 // the hub knows what is wanted, and refuses it to this user
	exitUnreachable = 4 // no hub answers
	exitTimeout     = 5 // fewer messages came in time than were wanted
)

// exitClient turns an error of a device into one with an exit code and advice.
func exitClient(err error, proto, server string) error {
	var coded cli.ExitCoder
	switch {
	case err == nil, errors.As(err, &coded):
		return err
	case errors.Is(err, context.Canceled): // Ctrl-C
		return nil
	case errors.Is(err, device.ErrUnreachable):
		return cli.Exit(fmt.Sprintf("no hub answers at %s; start one with: pushhub serve (%v)", server, cause(err)), exitUnreachable)
	case errors.Is(err, device.ErrNotAuthorized):
		return cli.Exit(fmt.Sprintf("%v\n%s", err, refusalAdvice(err, proto)), exitRefused)
	case errors.Is(err, device.ErrNoAnswer), errors.Is(err, device.ErrProtocol), errors.Is(err, io.EOF):
		return cli.Exit(fmt.Sprintf("%v\nis it %s that is spoken at %s? where TLS is spoken, add --tls", err, strings.ToUpper(proto), server), exitFailure)
	}
	return cli.Exit(err.Error(), exitFailure)
}

// cause is the innermost error: "connection refused".
func cause(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // it is the wrapping that is taken apart
		case interface{ Unwrap() error }:
			if e.Unwrap() == nil {
				return err
			}
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			all := e.Unwrap()
			err = all[len(all)-1]
		default:
			return err
		}
	}
}

func refusalAdvice(err error, proto string) string {
	var r *device.Refusal
	if errors.As(err, &r) && (r.What == "connect" || r.What == "log in") {
		advice := "check -u and -P; make an account with: pushhub user add NAME"
		if proto == protoMQTT {
			advice += "; clients without a name are let in only when mqtt.anonymous allows it"
		}
		return advice
	}
	return "see acl.rules in the hub's settings (pushhub config show); an inbox is read by its owner alone"
}

package main

import (
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/compare/device"
)

const (
	protoMQTT = "mqtt"
	protoXMPP = "xmpp"
)

// deviceFlags are those of the verbs that connect to a hub.
func deviceFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "proto", Usage: "`PROTOCOL` to speak: mqtt or xmpp", Value: protoMQTT},
		&cli.StringFlag{Name: "server", Usage: "`HOST:PORT` of the hub (default: the protocol's port on 127.0.0.1)"},
		&cli.StringFlag{Name: "user", Aliases: []string{"u"}, Usage: "account `NAME`"},
		&cli.StringFlag{Name: "password", Aliases: []string{"P"}, Usage: "its `PASSWORD`, which other users of this machine may see in the process list"},
		&cli.StringFlag{Name: "password-file", Usage: "read the password from the first line of `FILE`"},
		&cli.BoolFlag{Name: "tls", Usage: "speak TLS from the first byte"},
		&cli.BoolFlag{Name: "starttls", Usage: "begin TLS within the stream (xmpp)"},
		&cli.StringFlag{Name: "ca", Usage: "trust the certificates in `FILE`, such as a hub's own"},
		&cli.BoolFlag{Name: "insecure-tls", Usage: "speak TLS, but do not check the certificate"},
		&cli.StringFlag{Name: "domain", Usage: "XMPP `DOMAIN` of the account (default: the server's host, or localhost on this machine)"},
		&cli.StringFlag{Name: "id", Usage: "MQTT client `ID` or XMPP resource (default: a new one)"},
		&cli.IntFlag{Name: "level", Usage: "MQTT protocol `LEVEL`: 3, 4 (3.1.1) or 5; 5 alone tells why something is refused", Value: 5},
		&cli.IntFlag{Name: "qos", Usage: "MQTT quality of service: 0, 1 or 2", Value: 1},
		jsonFlag(),
	}
}

// deviceOptions is what those flags say.
type deviceOptions struct {
	device.Endpoint
	proto                      string
	user, password, domain, id string
	level, qos                 byte
}

// usage is an error of the command line.
func usage(c *cli.Context, format string, args ...any) error {
	return cli.Exit(fmt.Sprintf(format, args...)+fmt.Sprintf("; see: pushhub %s --help", c.Command.Name), exitUsage)
}

func readDeviceOptions(c *cli.Context) (deviceOptions, error) {
	o := deviceOptions{
		proto: c.String("proto"), user: c.String("user"), password: c.String("password"),
		domain: c.String("domain"), id: c.String("id"), level: byte(c.Int("level")), qos: byte(c.Int("qos")),
	}
	switch {
	case o.proto != protoMQTT && o.proto != protoXMPP:
		return o, usage(c, "--proto is mqtt or xmpp, not %q", o.proto)
	case c.Int("level") < 3 || c.Int("level") > 5:
		return o, usage(c, "--level is 3, 4 or 5, not %d", c.Int("level"))
	case c.Int("qos") < 0 || c.Int("qos") > 2:
		return o, usage(c, "--qos is 0, 1 or 2, not %d", c.Int("qos"))
	case o.proto == protoXMPP && (c.IsSet("qos") || c.IsSet("level")):
		return o, usage(c, "--qos and --level are MQTT's; XMPP delivers at least once")
	case o.proto == protoXMPP && o.user == "":
		return o, usage(c, "XMPP needs an account: give -u NAME -P PASSWORD")
	case o.proto == protoMQTT && c.Bool("starttls"):
		return o, usage(c, "MQTT has no STARTTLS: use --tls")
	}
	if o.id == "" {
		o.id = "pushhub-" + c.Command.Name + "-" + strings.ToLower(rand.Text()[:8])
	}
	if path := c.String("password-file"); path != "" {
		data, err := os.ReadFile(path)
		if err != nil {
			return o, usage(c, "--password-file: %v", err)
		}
		line, _, _ := strings.Cut(string(data), "\n")
		o.password = strings.TrimSuffix(line, "\r")
	}
	return o, o.secure(c)
}

// defaultPorts by protocol, without and with TLS from the first byte.
var defaultPorts = map[string][2]string{protoMQTT: {"1883", "8883"}, protoXMPP: {"5222", "5223"}}

// secure fills the endpoint in.
func (o *deviceOptions) secure(c *cli.Context) error {
	o.StartTLS = c.Bool("starttls")
	secure := c.Bool("tls") || o.StartTLS || c.Bool("insecure-tls") || c.String("ca") != ""
	port := defaultPorts[o.proto][0]
	if secure && !o.StartTLS {
		port = defaultPorts[o.proto][1]
	}
	o.Address = c.String("server")
	if o.Address == "" {
		o.Address = "127.0.0.1"
	}
	host, _, err := net.SplitHostPort(o.Address)
	if err != nil {
		host = strings.Trim(o.Address, "[]")
		o.Address = net.JoinHostPort(host, port)
	}
	named := o.domain != ""
	if !named {
		o.domain = host
		if ip := net.ParseIP(host); ip != nil && ip.IsLoopback() {
			o.domain = "localhost"
		}
	}
	if !secure {
		return nil
	}
	o.TLS = &tls.Config{MinVersion: tls.VersionTLS12, InsecureSkipVerify: c.Bool("insecure-tls")} //nolint:gosec // asked for by name
	if o.proto == protoXMPP && named {                                                            // RFC 6120 §13.7.2.1: it is the domain that was asked for
		o.TLS.ServerName = o.domain
	}
	if o.proto == protoXMPP && !o.StartTLS {
		o.TLS.NextProtos = []string{"xmpp-client"} // XEP-0368 §4
	}
	path := c.String("ca")
	if path == "" {
		return nil
	}
	pem, err := os.ReadFile(path)
	if err != nil {
		return usage(c, "--ca: %v", err)
	}
	o.TLS.RootCAs = x509.NewCertPool()
	if !o.TLS.RootCAs.AppendCertsFromPEM(pem) {
		return usage(c, "--ca: %s holds no certificate in PEM form", path)
	}
	return nil
}

func (o *deviceOptions) mqtt() device.MQTTOptions {
	return device.MQTTOptions{
		Endpoint: o.Endpoint, Level: o.level, ClientID: o.id, User: o.user, Password: o.password,
		Clean: true, KeepAlive: time.Minute,
	}
}

func (o *deviceOptions) xmpp() device.XMPPOptions {
	return device.XMPPOptions{Endpoint: o.Endpoint, Domain: o.domain, User: o.user, Password: o.password, Resource: o.id}
}

// operands are the positional arguments. Flags are taken behind them as well;
// what only looks like a flag, such as "-" and "-5", is an operand.
func operands(c *cli.Context) ([]string, error) {
	var list []string
	rest := c.Args().Slice()
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if arg == "--" {
			return append(list, rest[i+1:]...), nil
		}
		name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		flag := flagNamed(c, name)
		if !strings.HasPrefix(arg, "-") || flag == nil {
			if strings.HasPrefix(arg, "--") {
				return nil, usage(c, "there is no flag %s", arg)
			}
			list = append(list, arg)
			continue
		}
		if _, isBool := flag.(*cli.BoolFlag); isBool && !has {
			value, has = "true", true
		}
		if !has {
			if i++; i == len(rest) {
				return nil, usage(c, "%s needs a value", arg)
			}
			value = rest[i]
		}
		if err := c.Set(flag.Names()[0], value); err != nil {
			return nil, usage(c, "%s: %v", arg, err)
		}
	}
	return list, nil
}

func flagNamed(c *cli.Context, name string) cli.Flag {
	for _, f := range c.Command.Flags {
		for _, n := range f.Names() {
			if n == name {
				return f
			}
		}
	}
	return nil
}

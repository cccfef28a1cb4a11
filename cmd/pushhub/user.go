package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"

	"github.com/urfave/cli/v2"
)

func userCommand() *cli.Command {
	password := &cli.StringFlag{Name: "password", Usage: "the `PASSWORD`; read from standard input when absent"}
	sub := func(name, usage, args string, n int, flags ...cli.Flag) *cli.Command {
		return &cli.Command{
			Name: name, Usage: usage, ArgsUsage: args,
			Flags:  append(append(flags, jsonFlag()), configFlags()...),
			Action: func(c *cli.Context) error { return user(c, name, n) },
		}
	}
	return &cli.Command{
		Name:  "user",
		Usage: "manage accounts, of a hub that runs or not",
		Subcommands: []*cli.Command{
			sub("add", "create an account", "NAME", 1, password),
			sub("passwd", "change an account's password", "NAME", 1, password),
			sub("del", "delete an account, its sessions and what waits for it", "NAME", 1),
			sub("list", "list the accounts", " ", 0),
			sub("contact", "make two accounts see each other's presence", "NAME NAME", 2),
		},
	}
}

// user gives an order about n names.
func user(c *cli.Context, verb string, n int) error {
	args, err := arguments(c)
	if err != nil {
		return err
	}
	if len(args) != n {
		return cli.Exit(fmt.Sprintf("user %s takes %d names, got %d; see: pushhub user %s --help", verb, n, len(args), verb), exitUsage)
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	o := order{Verb: verb}
	if n > 0 {
		o.Name = args[0]
	}
	if n > 1 {
		o.Contact = args[1]
	}
	if verb == "add" || verb == "passwd" {
		if o.Password, err = readPassword(c); err != nil {
			return err
		}
	}
	a, err := ask(c.Context, cfg, o)
	if err != nil {
		return err
	}
	if a.Error != "" {
		return cli.Exit(a.Error, a.Code)
	}
	return tell(c, verb, args, a)
}

// arguments are the positional ones; flags are accepted behind them as well.
func arguments(c *cli.Context) ([]string, error) {
	var names []string
	rest := c.Args().Slice()
	for i := 0; i < len(rest); i++ {
		arg := rest[i]
		if !strings.HasPrefix(arg, "-") {
			names = append(names, arg)
			continue
		}
		name, value, has := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if !has && name != "json" && name != "insecure" {
			if i++; i == len(rest) {
				return nil, cli.Exit(fmt.Sprintf("%s needs a value", arg), exitUsage)
			}
			value = rest[i]
		} else if !has {
			value = "true"
		}
		if err := c.Set(name, value); err != nil {
			return nil, cli.Exit(fmt.Sprintf("%s: %v", arg, err), exitUsage)
		}
	}
	return names, nil
}

func readPassword(c *cli.Context) (string, error) {
	if c.IsSet("password") {
		return c.String("password"), nil
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", cli.Exit(fmt.Sprintf("no password: give --password, or one line on standard input (%v)", err), exitUsage)
	}
	return line, nil
}

// tell prints what was done.
func tell(c *cli.Context, verb string, args []string, a answer) error {
	if c.Bool("json") {
		names := a.Names
		if names == nil {
			names = args
		}
		return printJSON(c, map[string]any{"done": verb, "names": names})
	}
	text := map[string]string{
		"add": "account %s is there\n", "passwd": "the password of %s is changed\n", "del": "account %s is gone\n",
	}[verb]
	switch verb {
	case "list":
		text = strings.Join(append(a.Names, ""), "\n")
	case "contact":
		text = fmt.Sprintf("%s and %s see each other\n", args[0], args[1])
	default:
		text = fmt.Sprintf(text, args[0])
	}
	_, err := fmt.Fprint(c.App.Writer, text)
	return err
}

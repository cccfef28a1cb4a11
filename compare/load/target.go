package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Placeholders in the command and the address of a target that bench starts.
const (
	portMark    = "{port}"    // a free loopback port
	tlsPortMark = "{tlsport}" // another one
	dirMark     = "{dir}"     // an empty directory, removed at the end
)

// Target is a broker under test: one that runs already (with its pid when its
// CPU time is to be read), or one to be started by Command.
type Target struct {
	Name    string
	Addr    string   // host:port; the port may be {port} when Command is set
	TLSAddr string   // host:port of its TLS listener, empty when it has none; the port may be {tlsport}
	PID     int      // 0 when unknown
	Command []string // nil for a broker that runs already
}

// ParseTarget reads name=host:port[,pid=N][,tls=host:port] or
// name=exec:COMMAND ARGS…@host:port[,tls=host:port].
// The command is split at blanks, quotes keep blanks together; no shell is involved.
func ParseTarget(text string) (Target, error) {
	name, rest, ok := strings.Cut(text, "=")
	if !ok || name == "" || rest == "" {
		return Target{}, fmt.Errorf("target %q is not name=address", text)
	}
	t := Target{Name: name}
	var err error
	if command, isExec := strings.CutPrefix(rest, "exec:"); isExec {
		err = t.parseCommand(command)
	} else {
		err = t.parseAddress(rest)
	}
	if err != nil {
		return Target{}, fmt.Errorf("target %s: %w", name, err)
	}
	return t, nil
}

func (t *Target) parseCommand(text string) error {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return errors.New("exec: wants COMMAND ARGS…@host:port")
	}
	words, err := splitWords(text[:at])
	if err != nil {
		return err
	}
	if len(words) == 0 {
		return errors.New("exec: without a command")
	}
	t.Command = words
	return t.parseAddress(text[at+1:])
}

func (t *Target) parseAddress(text string) error {
	addr, options, more := strings.Cut(text, ",")
	if err := t.checkMark(addr); err != nil {
		return err
	}
	t.Addr = addr
	for more {
		var option string
		option, options, more = strings.Cut(options, ",")
		if err := t.parseOption(option); err != nil {
			return err
		}
	}
	return nil
}

func (t *Target) parseOption(option string) error {
	if addr, ok := strings.CutPrefix(option, "tls="); ok {
		t.TLSAddr = addr
		return t.checkMark(addr)
	}
	value, ok := strings.CutPrefix(option, "pid=")
	pid, err := strconv.Atoi(value)
	if !ok || err != nil || pid < 1 || len(t.Command) > 0 {
		return fmt.Errorf("%q is neither tls=host:port nor the pid=N of a broker that runs already", option)
	}
	t.PID = pid
	return nil
}

// checkMark wants host:port, and a placeholder only where it will be filled in.
func (t *Target) checkMark(addr string) error {
	if len(t.Command) == 0 && (strings.Contains(addr, portMark) || strings.Contains(addr, tlsPortMark)) {
		return errors.New("{port} and {tlsport} are for targets that are started")
	}
	_, _, err := splitAddress(addr)
	return err
}

// splitWords divides a command line at blanks outside '…' and "…".
func splitWords(line string) ([]string, error) {
	var words []string
	var word strings.Builder
	quote, inWord := rune(0), false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t' || r == '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("command has an unclosed %c", quote)
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

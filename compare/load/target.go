package load

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Placeholders in the command and the address of a target that bench starts.
const (
	portMark = "{port}" // a free loopback port
	dirMark  = "{dir}"  // an empty directory, removed at the end
)

// Target is a broker under test: one that runs already (with its pid when its
// CPU time is to be read), or one to be started by Command.
type Target struct {
	Name    string
	Addr    string   // host:port; the port may be {port} when Command is set
	PID     int      // 0 when unknown
	Command []string // nil for a broker that runs already
}

// ParseTarget reads name=host:port[,pid=N] or name=exec:COMMAND ARGS…@host:port.
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
	t.Command, t.Addr = words, text[at+1:]
	_, _, err = splitAddress(t.Addr)
	return err
}

func (t *Target) parseAddress(text string) error {
	addr, options, _ := strings.Cut(text, ",")
	if strings.Contains(addr, portMark) {
		return errors.New("{port} is for targets that are started")
	}
	if _, _, err := splitAddress(addr); err != nil {
		return err
	}
	t.Addr = addr
	if options == "" {
		return nil
	}
	value, ok := strings.CutPrefix(options, "pid=")
	pid, err := strconv.Atoi(value)
	if !ok || err != nil || pid < 1 {
		return fmt.Errorf("%q is not pid=N", options)
	}
	t.PID = pid
	return nil
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

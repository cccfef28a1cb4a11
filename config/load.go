package config

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
)

const (
	envPrefix = "PUSHHUB_"
	// envPath names the file and is read by whoever calls Load.
	envPath = "PUSHHUB_CONFIG"

	maxFile = 64 << 10 // bytes
)

// Load puts a configuration together: the defaults, then the YAML file at
// path ("" for none), then the PUSHHUB_* variables of env (as os.Environ
// gives them), then overrides by dotted name. The error joins every [Problem]
// found, file first, in order of lines; Config is then of no use. Load checks
// each value by itself; [Config.Check] checks them together.
func Load(path string, env []string, overrides map[string]string) (Config, error) {
	if path == "" {
		return load("", nil, env, overrides)
	}
	data, err := readFile(path)
	if err != nil {
		return Config{}, fmt.Errorf("reading the configuration: %w", err)
	}
	return load(path, data, env, overrides)
}

func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, Problem{Where: path, Text: fmt.Sprintf("the file is larger than %d bytes", maxFile)}
	}
	return data, nil
}

// load is Load with the file's bytes in hand; name is what problems call it.
func load(name string, data []byte, env []string, overrides map[string]string) (Config, error) {
	l := loader{config: Default()}
	l.config.sources = map[string]Source{}
	l.file(name, data)
	l.env(env)
	l.flags(overrides)
	if len(l.problems) > 0 {
		return Config{}, errors.Join(l.problems...)
	}
	return l.config, nil
}

// loader gathers values and problems.
type loader struct {
	config   Config
	problems []error
}

func (l *loader) fail(p Problem) { l.problems = append(l.problems, p) }

func (l *loader) env(env []string) {
	for _, entry := range env {
		name, value, ok := strings.Cut(entry, "=")
		if !ok || !strings.HasPrefix(name, envPrefix) || name == envPath {
			continue
		}
		at := slices.IndexFunc(keys, func(k key) bool { return k.env() == name })
		if at < 0 {
			l.fail(unknownVariable(name))
			continue
		}
		l.text(keys[at], value, Source{Kind: FromEnv, Place: name})
	}
}

func unknownVariable(name string) Problem {
	p := Problem{Where: name, Text: "there is no such variable"}
	candidates := []string{envPath}
	for _, k := range keys {
		candidates = append(candidates, k.env())
	}
	if near := nearest(name, candidates); near != "" {
		p.Fix = "did you mean " + near + "?"
	}
	return p
}

func (l *loader) flags(overrides map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(overrides)) {
		place := "--" + name
		k, ok := keyNamed(name)
		if !ok {
			l.fail(unknownKey(place, name))
			continue
		}
		l.text(k, overrides[name], Source{Kind: FromFlag, Place: place})
	}
}

// text sets a key from a flag or variable. A list is written a,b,c or, when
// an entry holds a comma, as a YAML list ["a", "b,c"].
func (l *loader) text(k key, text string, from Source) {
	if _, isList := k.field(&l.config).(*[]string); isList {
		l.listText(k, text, from)
		return
	}
	if err := k.set(&l.config, text, shapeAny); err != nil {
		l.fail(k.problem(from.Place, text, err))
		return
	}
	l.config.sources[k.name] = from
}

func (l *loader) listText(k key, text string, from Source) {
	if strings.HasPrefix(strings.TrimSpace(text), "[") {
		l.listYAML(k, text, from)
		return
	}
	var list []string
	for _, entry := range strings.Split(text, ",") {
		if entry = strings.TrimSpace(entry); entry != "" {
			list = append(list, entry)
		}
	}
	l.list(k, list, from)
}

func (l *loader) list(k key, list []string, from Source) {
	if len(list) > maxList {
		l.fail(k.problem(from.Place, "", fmt.Errorf("it has %d entries, at most %d are allowed", len(list), maxList)))
		return
	}
	if k.setList(&l.config, list) {
		l.config.sources[k.name] = from
	}
}

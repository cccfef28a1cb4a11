package config

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// Show writes the configuration in effect as YAML that [Load] reads back,
// each value with its source as a comment. secretsHidden blanks the passwords
// in it.
func Show(c Config, secretsHidden bool) []byte {
	var b strings.Builder
	in := ""
	for _, k := range keys {
		sec, leaf := section(k.name)
		if sec != in {
			fmt.Fprintf(&b, "\n%s:\n", sec)
			in = sec
		}
		indent := ""
		if sec != "" {
			indent = "  "
		}
		line := indent + leaf + ": " + k.yaml(&c, secretsHidden)
		fmt.Fprintf(&b, "%-44s # %s\n", line, c.origin(k.name))
	}
	return []byte(b.String())
}

// origin is "default", or the layer with the place: "file pushhub.yaml:3".
func (c Config) origin(key string) string {
	s, ok := c.sources[key]
	if !ok {
		return string(FromDefault)
	}
	// A line break in a file's name must not end the comment.
	place := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x85 || r == 0x2028 || r == 0x2029 {
			return '?'
		}
		return r
	}, s.Place)
	return string(s.Kind) + " " + place
}

// yaml writes the value of the key.
func (k key) yaml(c *Config, hide bool) string {
	switch field := k.field(c).(type) {
	case *string:
		if hide && k.secret != nil {
			return quote(k.secret(*field))
		}
		if k.choices != nil {
			return *field
		}
		return quote(*field)
	case *[]string:
		quoted := make([]string, len(*field))
		for i, s := range *field {
			quoted[i] = quote(s)
		}
		return "[" + strings.Join(quoted, ", ") + "]"
	case *time.Duration:
		return formatDuration(*field)
	case *Size:
		return field.String()
	case *Sync:
		return field.String()
	default:
		return fmt.Sprint(reflect.ValueOf(field).Elem())
	}
}

// quote writes a YAML double-quoted string, whose escapes are those of Go for
// valid UTF-8.
func quote(s string) string { return strconv.Quote(s) }

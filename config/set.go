package config

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// shape is the kind of YAML value that a text came from.
type shape int

const (
	shapeAny    shape = iota // a flag or variable: any text will do
	shapeText                // a YAML string
	shapeNumber              // a YAML integer
	shapeBool                // a YAML boolean
	shapeOther               // a float, a list, nothing, ...
)

const (
	maxText = 4096 // bytes of one text value
	maxList = 1000 // entries of one list
)

var errShape = errors.New("it is of another type")

// set reads text into the key's field of c. The error says what is wrong with
// text; want says what was expected.
func (k key) set(c *Config, text string, s shape) error {
	if len(text) > maxText || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return fmt.Errorf("it is longer than %d bytes or not text", maxText)
	}
	if !slices.Contains(k.shapes(c), s) && s != shapeAny {
		return errShape
	}
	switch field := k.field(c).(type) {
	case *string:
		return k.setText(field, text)
	case *bool:
		return setBool(field, text)
	case *Auto:
		return setAuto(field, text)
	case *int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return errors.New("it is not a whole number")
		}
		return ranged(k, n, func() { *field = int(n) })
	case *Size:
		n, err := parseSize(text)
		if err != nil {
			return err
		}
		return ranged(k, int64(n), func() { *field = n })
	case *time.Duration:
		d, err := parseDuration(text)
		if err != nil {
			return err
		}
		return ranged(k, int64(d), func() { *field = d })
	case *Sync:
		return k.setSync(field, text)
	}
	return errShape
}

// setList replaces a list; ok is false when the key is not a list.
func (k key) setList(c *Config, list []string) (ok bool) {
	field, ok := k.field(c).(*[]string)
	if ok {
		*field = list
	}
	return ok
}

func (k key) setText(field *string, text string) error {
	if k.choices != nil && !slices.Contains(k.choices, text) {
		return errors.New("it is none of the choices")
	}
	*field = text
	return nil
}

func setBool(field *bool, text string) error {
	if text != "true" && text != "false" {
		return errors.New("it is neither")
	}
	*field = text == "true"
	return nil
}

func setAuto(field *Auto, text string) error {
	if text != auto && text != "true" && text != "false" {
		return errors.New("it is none of the choices")
	}
	*field = Auto(text)
	return nil
}

func (k key) setSync(field *Sync, text string) error {
	if text == SyncAlways.String() {
		*field = SyncAlways
		return nil
	}
	d, err := parseDuration(text)
	if err != nil {
		return err
	}
	return ranged(k, int64(d), func() { *field = Sync(d) })
}

// ranged calls assign if n is within the key's bounds.
func ranged(k key, n int64, assign func()) error {
	if n < k.min || n > k.max {
		return errors.New("it is out of range")
	}
	assign()
	return nil
}

// shapes are the YAML values that the key takes. A bare number has no unit,
// so a duration takes none; "domain: 5" is more likely a slip than a name.
func (k key) shapes(c *Config) []shape {
	switch k.field(c).(type) {
	case *bool:
		return []shape{shapeBool}
	case *Auto:
		return []shape{shapeBool, shapeText}
	case *int:
		return []shape{shapeNumber}
	case *Size:
		return []shape{shapeNumber, shapeText}
	case *string, *time.Duration, *Sync:
		return []shape{shapeText}
	}
	return nil
}

// want describes, for a person, what the key takes.
func (k key) want() string {
	if k.choices != nil {
		return "one of " + strings.Join(k.choices, ", ")
	}
	switch k.field(&Config{}).(type) {
	case *string:
		return "text (in quotes if it looks like something else)"
	case *[]string:
		return "a list of texts"
	case *bool:
		return "true or false"
	case *Auto:
		return "auto, true or false"
	case *int:
		return fmt.Sprintf("a whole number from %d to %d", k.min, k.max)
	case *Size:
		return fmt.Sprintf("a size from %s to %s, such as 64KiB, 1MiB or 10MB", Size(k.min), Size(k.max))
	case *time.Duration:
		return fmt.Sprintf("a duration from %s to %s, such as 30s, 12h or 7d", formatDuration(time.Duration(k.min)), formatDuration(time.Duration(k.max)))
	case *Sync:
		return fmt.Sprintf("always, or a duration from %s to %s", formatDuration(time.Duration(k.min)), formatDuration(time.Duration(k.max)))
	}
	return "something else"
}

// problem reports a value that the key does not take. Values of secret keys
// are not quoted.
func (k key) problem(where, text string, err error) Problem {
	quoted := strconv.Quote(text) + ": "
	if k.secret != nil || len(text) > 80 {
		quoted = ""
	}
	return Problem{Where: where, Key: k.name, Text: quoted + err.Error(), Fix: "want " + k.want()}
}

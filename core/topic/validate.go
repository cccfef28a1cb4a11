// Package topic owns topic names and topic filters: what is a valid one, which
// filter matches which name, and the two structures that answer this question
// for many of them: Index (filters to subscribers) and Store (names to
// retained values).
//
// It is pure. It never does IO, never starts a goroutine, never reads a clock
// and never locks: the owner of an Index or a Store guards it. Calls that only
// read change nothing inside, so that they may run side by side under a read
// lock.
package topic

import (
	"errors"
	"strings"
	"unicode/utf8"
)

const (
	// MaxLength is the greatest length of a name or filter in bytes, as its
	// length travels in two bytes [MQTT-4.7.3-3].
	MaxLength = 65535
	// MaxLevels is the greatest number of levels in a name or filter. The
	// specification sets none; this one bounds the work of a match.
	MaxLevels = 128
)

// What is wrong with a name or filter. They are returned bare: the text that
// was refused may be long and hostile, so the caller decides what to show.
var (
	ErrEmpty          = errors.New("topic is empty")
	ErrTooLong        = errors.New("topic is longer than 65535 bytes")
	ErrTooManyLevels  = errors.New("topic has more than 128 levels")
	ErrNotUTF8        = errors.New("topic is not valid UTF-8")
	ErrNullCharacter  = errors.New("topic contains U+0000")
	ErrWildcardInName = errors.New("topic name contains a wildcard")
	ErrHashPlace      = errors.New("'#' must be the last level and stand alone in it")
	ErrPlusPlace      = errors.New("'+' must stand alone in its level")
)

// ValidateName tells whether s is a topic name: something that can be
// published to. It returns nil or one of the errors of this package.
func ValidateName(s string) error {
	ascii, err := scanName(s)
	if err == nil && !ascii && !utf8.ValidString(s) {
		return ErrNotUTF8 // [MQTT-1.5.4-1]
	}
	return err
}

// ValidateNameBytes is ValidateName for a name that is still part of a packet.
func ValidateNameBytes(b []byte) error {
	ascii, err := scanName(b)
	if err == nil && !ascii && !utf8.Valid(b) {
		return ErrNotUTF8 // [MQTT-1.5.4-1]
	}
	return err
}

// scanName checks all but UTF-8, and tells whether there is any to check.
func scanName[S string | []byte](s S) (ascii bool, err error) {
	if err := checkLength(len(s)); err != nil {
		return false, err
	}
	levels, high := 1, byte(0)
	for i := range len(s) {
		c := s[i]
		high |= c
		if c > '/' { // most bytes: everything special sorts below
			continue
		}
		switch c {
		case '/':
			levels++
		case 0:
			return false, ErrNullCharacter // [MQTT-4.7.3-2]
		case '+', '#':
			return false, ErrWildcardInName // [MQTT-4.7.0-1]
		}
	}
	if levels > MaxLevels {
		return false, ErrTooManyLevels
	}
	return high < utf8.RuneSelf, nil
}

func checkLength(n int) error {
	if n == 0 {
		return ErrEmpty // [MQTT-4.7.3-1]
	}
	if n > MaxLength {
		return ErrTooLong // [MQTT-4.7.3-3]
	}
	return nil
}

// ValidateFilter tells whether s is a topic filter: something that can be
// subscribed to. It returns nil or one of the errors of this package. A shared
// subscription's "$share/<group>/" is no part of the filter.
func ValidateFilter(s string) error {
	if err := checkLength(len(s)); err != nil {
		return err
	}
	if strings.IndexByte(s, 0) >= 0 {
		return ErrNullCharacter // [MQTT-4.7.3-2]
	}
	if !utf8.ValidString(s) {
		return ErrNotUTF8 // [MQTT-1.5.4-1]
	}
	rest, more := s, true
	for levels := 1; more; levels++ {
		if levels > MaxLevels {
			return ErrTooManyLevels
		}
		var level string
		level, rest, more = strings.Cut(rest, "/")
		if err := checkLevel(level, !more); err != nil {
			return err
		}
	}
	return nil
}

func checkLevel(level string, last bool) error {
	if strings.IndexByte(level, '#') >= 0 && (level != "#" || !last) {
		return ErrHashPlace // [MQTT-4.7.1-1]
	}
	if strings.IndexByte(level, '+') >= 0 && level != "+" {
		return ErrPlusPlace // [MQTT-4.7.1-2]
	}
	return nil
}

// inLimits is the part of validation that memory safety of the structures
// rests on; they check it again instead of trusting their callers.
func inLimits(s string) bool {
	return checkLength(len(s)) == nil && strings.Count(s, "/") < MaxLevels
}

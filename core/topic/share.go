package topic

import (
	"errors"
	"strings"
)

// sharePrefix begins a shared subscription, MQTT 5 §4.8.2.
const sharePrefix = "$share/"

// What is wrong with a shared subscription beside its filter.
var (
	ErrShareName   = errors.New("a share name must not be empty and must not contain '+' or '#'")
	ErrShareFilter = errors.New("a shared subscription needs a filter behind its share name")
)

// IsShared tells whether s is meant as a shared subscription.
func IsShared(s string) bool { return strings.HasPrefix(s, sharePrefix) }

// SplitShare takes the filter out of "$share/{ShareName}/{filter}"; any other s is
// a filter itself. It returns nil, or an error of this package: the filter is not
// checked beyond being there.
func SplitShare(s string) (filter string, shared bool, err error) {
	rest, shared := strings.CutPrefix(s, sharePrefix)
	if !shared {
		return s, false, nil
	}
	name, filter, found := strings.Cut(rest, "/")
	switch {
	case name == "" || strings.ContainsAny(name, "+#"): // [MQTT-4.8.2-1] [MQTT-4.8.2-2]
		return "", true, ErrShareName
	case !found || filter == "": // [MQTT-4.8.2-2]
		return "", true, ErrShareFilter
	}
	return filter, true, nil
}

// ValidateSubscription is ValidateFilter for what a client subscribes to: a
// filter, or a shared subscription.
func ValidateSubscription(s string) error {
	if err := checkLength(len(s)); err != nil {
		return err
	}
	filter, shared, err := SplitShare(s)
	if err != nil {
		return err
	}
	if err := ValidateFilter(filter); err != nil || !shared {
		return err
	}
	return ValidateFilter(s[:len(s)-len(filter)] + "#") // the name's characters
}

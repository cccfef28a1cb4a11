package topic

import (
	"errors"
	"strings"
	"testing"
)

func levels(n int) string { return strings.Repeat("a/", n-1) + "a" }

func TestValidateName(t *testing.T) {
	for _, tc := range []struct {
		name string
		want error
	}{
		{"a", nil},
		{"/", nil},
		{"//", nil},
		{"a/b/c", nil},
		{"sport/tennis/player1", nil},
		{"Accounts payable", nil},
		{"$SYS/monitor/Clients", nil},
		{"grüße/世界/🎾", nil},
		{"\ufeffa", nil}, // [MQTT-1.5.4-3]: U+FEFF is a character like others
		{"\uffff", nil},
		{"", ErrEmpty},
		{"a\x00b", ErrNullCharacter},
		{"+", ErrWildcardInName},
		{"a/+", ErrWildcardInName},
		{"a#", ErrWildcardInName},
		{"a/\xff", ErrNotUTF8},
		{"\xc0\x80", ErrNotUTF8},     // overlong U+0000
		{"\xed\xa0\x80", ErrNotUTF8}, // surrogate
		{"\xe4\xb8", ErrNotUTF8},     // cut short
		{strings.Repeat("a", MaxLength), nil},
		{strings.Repeat("a", MaxLength+1), ErrTooLong},
		{levels(MaxLevels), nil},
		{levels(MaxLevels + 1), ErrTooManyLevels},
	} {
		if err := ValidateName(tc.name); !errors.Is(err, tc.want) {
			t.Errorf("ValidateName(%.20q) = %v, want %v", tc.name, err, tc.want)
		}
		if err := ValidateNameBytes([]byte(tc.name)); !errors.Is(err, tc.want) {
			t.Errorf("ValidateNameBytes(%.20q) = %v, want %v", tc.name, err, tc.want)
		}
	}
}

func TestValidateFilter(t *testing.T) {
	for _, tc := range []struct {
		filter string
		want   error
	}{
		{"a/b", nil},
		{"#", nil},
		{"+", nil},
		{"/#", nil},
		{"/+", nil},
		{"+/+", nil},
		{"sport/tennis/#", nil},
		{"+/tennis/#", nil},
		{"sport/+/player1", nil},
		{"$SYS/#", nil},
		{"世界/+", nil},
		{"", ErrEmpty},
		{"sport/tennis#", ErrHashPlace},
		{"sport/tennis/#/ranking", ErrHashPlace},
		{"a#", ErrHashPlace},
		{"#a", ErrHashPlace},
		{"#/x", ErrHashPlace},
		{"#/", ErrHashPlace},
		{"##", ErrHashPlace},
		{"+#", ErrHashPlace},
		{"sport+", ErrPlusPlace},
		{"a+b", ErrPlusPlace},
		{"++", ErrPlusPlace},
		{"a/+b/c", ErrPlusPlace},
		{"a\x00", ErrNullCharacter},
		{"a/\xff/#", ErrNotUTF8},
		{strings.Repeat("a", MaxLength), nil},
		{strings.Repeat("a", MaxLength+1), ErrTooLong},
		{levels(MaxLevels-1) + "/#", nil},
		{levels(MaxLevels) + "/#", ErrTooManyLevels},
	} {
		if err := ValidateFilter(tc.filter); !errors.Is(err, tc.want) {
			t.Errorf("ValidateFilter(%.20q) = %v, want %v", tc.filter, err, tc.want)
		}
	}
}

// The limits that the structures check for themselves are those of validation.
func FuzzValidate(f *testing.F) {
	for _, s := range []string{"a/b", "#", "+/a/#", "a#", "a\x00", "\xff", "", "/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		asName, asFilter := ValidateName(s), ValidateFilter(s)
		if err := ValidateNameBytes([]byte(s)); err != asName {
			t.Fatalf("bytes say %v, string says %v", err, asName)
		}
		if asName == nil && (asFilter != nil || HasWildcard(s)) {
			t.Fatalf("%q is a name, but as filter: %v", s, asFilter)
		}
		if asName != nil && asFilter == nil && !HasWildcard(s) {
			t.Fatalf("%q is a filter without wildcard, but as name: %v", s, asName)
		}
		if asFilter == nil && !inLimits(s) {
			t.Fatalf("%q is valid, but beyond the limits", s)
		}
	})
}

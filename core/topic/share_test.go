package topic

import (
	"errors"
	"strings"
	"testing"
)

func TestSharedSubscriptionSyntax(t *testing.T) {
	for _, c := range []struct {
		in, filter string
		shared     bool
		err        error
	}{
		{in: "a/b", filter: "a/b"},
		{in: "$share", filter: "$share"},
		{in: "$shared/g/a", filter: "$shared/g/a"},
		{in: "$share/g/a", filter: "a", shared: true},
		{in: "$share/g/a/+/#", filter: "a/+/#", shared: true},
		{in: "$share/g//a", filter: "/a", shared: true},
		{in: "$share/g/$share/h/a", filter: "$share/h/a", shared: true},
		{in: "$share/", shared: true, err: ErrShareName},
		{in: "$share//a", shared: true, err: ErrShareName},
		{in: "$share/g+/a", shared: true, err: ErrShareName},
		{in: "$share/#/a", shared: true, err: ErrShareName},
		{in: "$share/g", shared: true, err: ErrShareFilter},
		{in: "$share/g/", shared: true, err: ErrShareFilter},
	} {
		filter, shared, err := SplitShare(c.in)
		if filter != c.filter || shared != c.shared || !errors.Is(err, c.err) {
			t.Errorf("SplitShare(%q) = %q, %t, %v; want %q, %t, %v", c.in, filter, shared, err, c.filter, c.shared, c.err)
		}
	}
}

func TestSharedSubscriptionsFilterIsValidated(t *testing.T) {
	for in, want := range map[string]error{
		"$share/g/a/#":                         nil,
		"$share/g/a#":                          ErrHashPlace,
		"$share/g/a+/b":                        ErrPlusPlace,
		"$share/g\x00/a":                       ErrNullCharacter,
		"$share/\xff/a":                        ErrNotUTF8,
		"$share/g/" + strings.Repeat("/", 200): ErrTooManyLevels,
		"$share/" + strings.Repeat("g", 1<<16): ErrTooLong,
		"a/#/b":                                ErrHashPlace,
		"":                                     ErrEmpty,
		"plain":                                nil,
		"$share/g/" + strings.Repeat("/", 127): nil,
		"$share/" + strings.Repeat("g", 200) + "/a": nil,
	} {
		if err := ValidateSubscription(in); !errors.Is(err, want) {
			t.Errorf("ValidateSubscription(%.40q) = %v, want %v", in, err, want)
		}
	}
}

func FuzzSplitShare(f *testing.F) {
	for _, s := range []string{"a", "$share/g/a", "$share//a", "$share/g/", "$share/+/a"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		filter, shared, err := SplitShare(s)
		switch {
		case err != nil:
			if ValidateSubscription(s) == nil {
				t.Errorf("%q is not to be split, and valid", s)
			}
		case !strings.HasSuffix(s, filter), !shared && filter != s:
			t.Errorf("%q splits into %q", s, filter)
		case ValidateSubscription(s) == nil && ValidateFilter(filter) != nil:
			t.Errorf("%q is valid, its filter %q is not", s, filter)
		}
	})
}

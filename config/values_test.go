package config

import (
	"errors"
	"testing"
	"time"
)

func TestParseSize(t *testing.T) {
	cases := []struct {
		text string
		want Size
		err  error
	}{
		{"0", 0, nil},
		{"1048576", 1 << 20, nil},
		{"64KiB", 64 << 10, nil},
		{"1MiB", 1 << 20, nil},
		{"10MB", 10_000_000, nil},
		{"3 GiB", 3 << 30, nil},
		{"5gb", 5_000_000_000, nil},
		{"7B", 7, nil},
		{"", 0, errSize},
		{"MiB", 0, errSize},
		{"-1", 0, errSize},
		{"1.5GiB", 0, errSize},
		{"10M", 0, errSize},
		{"1 parsec", 0, errSize},
		{"0x10", 0, errSize},
		{"99999999999999999999", 0, errTooLarge},
		{"9999999999TiB", 0, errTooLarge},
	}
	for _, c := range cases {
		if got, err := parseSize(c.text); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("parseSize(%q) = %d, %v; want %d, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func TestParseDuration(t *testing.T) {
	cases := []struct {
		text string
		want time.Duration
		err  error
	}{
		{"0", 0, nil},
		{"90s", 90 * time.Second, nil},
		{"1h30m", 90 * time.Minute, nil},
		{"7d", 7 * day, nil},
		{"1d12h", 36 * time.Hour, nil},
		{"-5s", -5 * time.Second, nil}, // the range refuses it
		{"", 0, errDuration},
		{"30", 0, errDuration},
		{"d", 0, errDuration},
		{"-1d", 0, errDuration},
		{"1d-2h", 0, errDuration},
		{"1.5d", 0, errDuration},
		{"forever", 0, errDuration},
		{"200000d", 0, errTooLarge},
		{"106751d2000000h", 0, errTooLarge},
	}
	for _, c := range cases {
		if got, err := parseDuration(c.text); got != c.want || !errors.Is(err, c.err) {
			t.Errorf("parseDuration(%q) = %v, %v; want %v, %v", c.text, got, err, c.want, c.err)
		}
	}
}

func TestValuesReadBackAsWritten(t *testing.T) {
	for _, s := range []Size{0, 1, 1000, 1 << 10, 3 << 20, 1<<30 + 1, 5 << 40} {
		if got, err := parseSize(s.String()); err != nil || got != s {
			t.Errorf("size %d is written %q and read %d, %v", s, s, got, err)
		}
	}
	for _, d := range []time.Duration{0, time.Millisecond, time.Second, 90 * time.Second, time.Hour, 36 * time.Hour, 7 * day, time.Hour + time.Second} {
		if got, err := parseDuration(formatDuration(d)); err != nil || got != d {
			t.Errorf("duration %v is written %q and read %v, %v", d, formatDuration(d), got, err)
		}
	}
}

func TestFormatDuration(t *testing.T) {
	cases := map[time.Duration]string{0: "0s", 7 * day: "7d", time.Hour: "1h", 90 * time.Minute: "1h30m", 10 * time.Minute: "10m", 30 * time.Second: "30s"}
	for d, want := range cases {
		if got := formatDuration(d); got != want {
			t.Errorf("%v is written %q, want %q", d, got, want)
		}
	}
}

package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Auto is a switch that may be left to the hub: "auto", "true" or "false".
type Auto string

const auto = "auto"

// Resolve returns the switch, or what the hub would choose.
func (a Auto) Resolve(choice bool) bool {
	if a == auto {
		return choice
	}
	return a == "true"
}

// Sync is how often the embedded bus syncs its disk; [SyncAlways] is before
// each acknowledgement.
type Sync time.Duration

// SyncAlways loses nothing that was acknowledged, whatever happens.
const SyncAlways Sync = 0

// Size is a number of bytes. It reads "1048576", "64KiB", "1MiB" and "10MB".
type Size int64

var sizeUnits = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40},
	{"GiB", 1 << 30},
	{"MiB", 1 << 20},
	{"KiB", 1 << 10},
	{"TB", 1e12},
	{"GB", 1e9},
	{"MB", 1e6},
	{"kB", 1e3},
	{"B", 1},
}

var (
	errSize     = errors.New("it is not a size")
	errDuration = errors.New("it is not a duration")
	errTooLarge = errors.New("it is too large")
)

// parseSize reads a size; units are not told apart by case.
func parseSize(text string) (Size, error) {
	digits := strings.TrimRight(text, "BKMGTIbkmgti ")
	unit := strings.TrimSpace(text[len(digits):])
	n, err := strconv.ParseUint(digits, 10, 63)
	if errors.Is(err, strconv.ErrRange) {
		return 0, errTooLarge
	}
	if err != nil {
		return 0, errSize
	}
	if unit == "" {
		return Size(n), nil
	}
	for _, u := range sizeUnits {
		if !strings.EqualFold(unit, u.name) {
			continue
		}
		if n > math.MaxInt64/uint64(u.bytes) {
			return 0, errTooLarge
		}
		return Size(n) * Size(u.bytes), nil
	}
	return 0, errSize
}

// String writes the size in its largest whole binary unit.
func (s Size) String() string {
	for _, u := range sizeUnits[:4] {
		if s != 0 && int64(s)%u.bytes == 0 {
			return strconv.FormatInt(int64(s)/u.bytes, 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10)
}

// parseDuration reads a Go duration that may begin with days: "90s", "7d",
// "1d12h". A bare number has no unit and is refused, but for 0.
func parseDuration(text string) (time.Duration, error) {
	days, rest, hasDays := strings.Cut(text, "d")
	if !hasDays {
		d, err := time.ParseDuration(text)
		if err != nil {
			return 0, errDuration
		}
		return d, nil
	}
	n, err := strconv.ParseUint(days, 10, 32)
	if errors.Is(err, strconv.ErrRange) || n > uint64(math.MaxInt64/day) {
		return 0, errTooLarge
	}
	if err != nil {
		return 0, errDuration
	}
	var more time.Duration
	if rest != "" {
		if more, err = time.ParseDuration(rest); err != nil || more < 0 {
			return 0, errDuration
		}
	}
	sum := time.Duration(n)*day + more
	if sum < more {
		return 0, errTooLarge
	}
	return sum, nil
}

// formatDuration writes whole days as days: 7d, not 168h0m0s.
func formatDuration(d time.Duration) string {
	if d != 0 && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// String writes "always" or the interval.
func (s Sync) String() string {
	if s == SyncAlways {
		return "always"
	}
	return formatDuration(time.Duration(s))
}

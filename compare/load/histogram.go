package load

import "math/bits"

// subBits sets the histogram's resolution: 2^subBits buckets for each power of
// two, hence a relative error below 1/64.
const subBits = 6

// Histogram counts durations in logarithmic buckets of under 1.6 % width. The
// zero value is ready; it is not safe for concurrent use.
type Histogram struct {
	counts [(64 - subBits) << subBits]uint64
	total  uint64
	max    uint64
}

// Record counts one value in nanoseconds; a negative one counts as 0.
func (h *Histogram) Record(ns int64) {
	v := uint64(max(ns, 0))
	h.counts[bucketOf(v)]++
	h.total++
	h.max = max(h.max, v)
}

// Count returns how many values were recorded.
func (h *Histogram) Count() uint64 { return h.total }

// Max returns the largest recorded value in nanoseconds.
func (h *Histogram) Max() int64 { return int64(h.max) }

// Quantile returns the value in nanoseconds that a share q (0 to 1) of the
// recorded values does not exceed, rounded up to its bucket's end, or 0 when
// nothing was recorded.
func (h *Histogram) Quantile(q float64) int64 {
	if h.total == 0 {
		return 0
	}
	want := uint64(q * float64(h.total))
	if float64(want) < q*float64(h.total) {
		want++
	}
	want = min(max(want, 1), h.total)
	seen := uint64(0)
	for i, n := range h.counts {
		seen += n
		if seen >= want {
			return int64(min(bucketEnd(i), h.max))
		}
	}
	return int64(h.max)
}

// bucketOf maps small values to a bucket each, larger ones by their exponent
// and the subBits bits below the leading one.
func bucketOf(v uint64) int {
	if v < 1<<subBits {
		return int(v)
	}
	shift := bits.Len64(v) - subBits - 1
	return shift<<subBits + int(v>>shift)
}

func bucketEnd(i int) uint64 {
	if i < 2<<subBits {
		return uint64(i)
	}
	shift := i>>subBits - 1
	mantissa := uint64(i&(1<<subBits-1)) + 1<<subBits
	return mantissa<<shift + 1<<shift - 1
}

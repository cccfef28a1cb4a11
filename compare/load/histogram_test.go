package load

import (
	"math"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestEmptyHistogramIsZero(t *testing.T) {
	var h Histogram
	if h.Quantile(0.5) != 0 || h.Max() != 0 || h.Count() != 0 {
		t.Error("an empty histogram reports values")
	}
}

func TestExtremeValuesHaveABucket(t *testing.T) {
	for _, v := range []int64{-5, 0, 1, 63, 64, 127, 128, 129, 1 << 40, math.MaxInt64} {
		var h Histogram
		h.Record(v)
		if got := h.Quantile(1); got != max(v, 0) {
			t.Errorf("recorded %d, got %d", v, got)
		}
	}
}

func TestBucketsAreContiguous(t *testing.T) {
	for i := range len(Histogram{}.counts) - 1 {
		end := bucketEnd(i)
		if bucketOf(end) != i || bucketOf(end+1) != i+1 {
			t.Fatalf("bucket %d ends at %d, which is in bucket %d, the next value in %d",
				i, end, bucketOf(end), bucketOf(end+1))
		}
	}
}

func TestQuantileIsTheExactOneWithinAFractionOf64(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(0, 1<<45), 1, 300).Draw(t, "values")
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		var h Histogram
		for _, v := range values {
			h.Record(v)
		}
		slices.Sort(values)
		rank := max(1, int(math.Ceil(q*float64(len(values)))))
		exact, got := values[rank-1], h.Quantile(q)
		if got < exact || got > exact+exact/64 {
			t.Fatalf("quantile %v: got %d, exact %d", q, got, exact)
		}
	})
}

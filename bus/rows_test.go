package bus

import (
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"

	"pushhub/core"
)

// load returns the bucket; a row that comes twice counts with its last value.
func load(t testing.TB, n node, bucket string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := n.Rows().Load(t.Context(), bucket, func(r core.Row) error {
		if r.Value == nil {
			return fmt.Errorf("row %q has a nil value", r.Key)
		}
		got[r.Key] = string(r.Value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func put(t testing.TB, n node, bucket string, rows ...core.Row) {
	t.Helper()
	if err := n.Rows().Put(t.Context(), bucket, rows); err != nil {
		t.Fatal(err)
	}
}

func row(key, value string) core.Row { return core.Row{Key: key, Value: []byte(value)} }

func expect(t testing.TB, n node, bucket string, want map[string]string) {
	t.Helper()
	if got := load(t, n, bucket); !maps.Equal(got, want) {
		t.Errorf("%s: %d rows %.300q, want %d %.300q", bucket, len(got), fmt.Sprint(got), len(want), fmt.Sprint(want))
	}
}

func TestRows(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		expect(t, n, core.BucketNodes, map[string]string{})
		put(t, n, core.BucketNodes, row("a", "1"))
		put(t, n, core.BucketNodes, row("a", "2"), row("b", ""), row("c", "3"), row("c", "4"))
		put(t, n, core.BucketRetained, row("a", "other"))
		put(t, n, core.BucketNodes)
		want := map[string]string{"a": "2", "b": "", "c": "4"}
		expect(t, n, core.BucketNodes, want)

		put(t, n, core.BucketNodes, core.Row{Key: "a"}, core.Row{Key: "never"})
		delete(want, "a")
		expect(t, n, core.BucketNodes, want)
		put(t, n, core.BucketNodes, core.Row{Key: "c"})
		delete(want, "c")

		closeNode(t, n)
		n = s.open(t, small())
		expect(t, n, core.BucketNodes, want)
		expect(t, n, core.BucketRetained, map[string]string{"a": "other"})
		expect(t, n, core.BucketAccounts, map[string]string{})
		put(t, n, core.BucketNodes, core.Row{Key: "b"})
		expect(t, n, core.BucketNodes, map[string]string{})
		closeNode(t, n)
	})
}

func TestCreate(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		create := func(value string) error {
			return n.Rows().Create(t.Context(), core.BucketAccounts, row("alice", value))
		}
		if err := create("1"); err != nil {
			t.Fatal(err)
		}
		if err := create("2"); !errors.Is(err, core.ErrExists) {
			t.Errorf("second create: %v", err)
		}
		expect(t, n, core.BucketAccounts, map[string]string{"alice": "1"})
		put(t, n, core.BucketAccounts, core.Row{Key: "alice"})
		if err := create("3"); err != nil {
			t.Errorf("create after delete: %v", err)
		}
		if err := create("4"); !errors.Is(err, core.ErrExists) {
			t.Errorf("create again: %v", err)
		}
		expect(t, n, core.BucketAccounts, map[string]string{"alice": "3"})
		closeNode(t, n)
	})
}

func TestTenThousandRows(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		want := map[string]string{}
		var rows []core.Row
		for i := range 10_000 {
			key, value := fmt.Sprintf("key %d", i), strings.Repeat("v", i%300)
			want[key] = value
			rows = append(rows, row(key, value))
		}
		put(t, n, core.BucketNodes, rows...)
		expect(t, n, core.BucketNodes, want)
		closeNode(t, n)
	})
}

func TestOddKeys(t *testing.T) {
	odd := []string{"\x00", "a.b.>", "*", " ", "é\xff\xfe", "$KV", strings.Repeat("k", maxKeyBytes)}
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		want := map[string]string{}
		for i, key := range odd {
			put(t, n, core.BucketNodes, row(key, fmt.Sprint(i)))
			want[key] = fmt.Sprint(i)
		}
		expect(t, n, core.BucketNodes, want)
		for _, key := range []string{"", strings.Repeat("k", maxKeyBytes+1)} {
			if err := n.Rows().Put(t.Context(), core.BucketNodes, []core.Row{row("fine", ""), row(key, "")}); err == nil {
				t.Errorf("a key of %d bytes is taken", len(key))
			}
			if err := n.Rows().Create(t.Context(), core.BucketNodes, row(key, "")); err == nil {
				t.Errorf("a key of %d bytes is created", len(key))
			}
		}
		expect(t, n, core.BucketNodes, want)
		if err := n.Rows().Put(t.Context(), "NOPE", nil); !errors.Is(err, core.ErrNotFound) {
			t.Errorf("unknown bucket: %v", err)
		}
		closeNode(t, n)
	})
}

func TestLoadStopsWhereYieldFails(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		for i := range 200 {
			put(t, n, core.BucketNodes, row(fmt.Sprint(i), "v"))
		}
		calls := 0
		err := n.Rows().Load(t.Context(), core.BucketNodes, func(core.Row) error {
			calls++
			return errTest
		})
		if !errors.Is(err, errTest) || calls != 1 {
			t.Errorf("load: %v after %d rows", err, calls)
		}
		closeNode(t, n)
	})
}

func TestBigRowsGoInSeveralBatches(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		want := map[string]string{}
		var rows []core.Row
		for i := range 150 {
			value := strings.Repeat(string(rune('a'+i%26)), 60<<10)
			want[fmt.Sprint(i)] = value
			rows = append(rows, row(fmt.Sprint(i), value))
		}
		put(t, n, core.BucketRetained, rows...)
		if got := load(t, n, core.BucketRetained); !maps.Equal(got, want) {
			t.Errorf("%d rows, want %d", len(got), len(want))
		}
		closeNode(t, n)
	})
}

func TestLoadMissesNoRowThatIsReplacedMeanwhile(t *testing.T) {
	eachKind(t, func(t *testing.T, s stores) {
		n := s.open(t, small())
		const keys = 2000
		var rows []core.Row
		for i := range keys {
			rows = append(rows, row(fmt.Sprint(i), "old"))
		}
		put(t, n, core.BucketNodes, rows...)
		got := map[string]bool{}
		err := n.Rows().Load(t.Context(), core.BucketNodes, func(r core.Row) error {
			if len(got) == 0 {
				put(t, n, core.BucketNodes, row("1999", "new"), row("1000", "new"), row("1500", "new"))
				put(t, n, core.BucketNodes, core.Row{Key: "1998"})
			}
			got[r.Key] = true
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range keys {
			if !got[fmt.Sprint(i)] && i != 1998 {
				t.Errorf("row %d is missing", i)
			}
		}
		closeNode(t, n)
	})
}

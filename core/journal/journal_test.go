package journal

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func TestFrameRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		recs := rapid.SliceOf(rapid.SliceOf(rapid.Byte())).Draw(t, "records")
		var f Frame
		for _, r := range recs {
			if !f.Add(r) {
				t.Fatal("a frame of few records is full")
			}
		}
		got, err := Split(bytes.Clone(f.Bytes()))
		if err != nil || len(got) != len(recs) || f.Count() != len(recs) {
			t.Fatalf("%d records came back, want %d: %v", len(got), len(recs), err)
		}
		for i := range got {
			if !bytes.Equal(got[i], recs[i]) {
				t.Fatalf("record %d is %q, want %q", i, got[i], recs[i])
			}
		}
	})
}

func TestDamagedFrameIsRefused(t *testing.T) {
	var f Frame
	f.Add([]byte("one"))
	f.Add([]byte("two"))
	good := bytes.Clone(f.Bytes())
	for i := range good {
		bad := bytes.Clone(good)
		bad[i] ^= 0x40
		if _, err := Split(bad); !errors.Is(err, ErrCorrupt) {
			t.Errorf("byte %d changed: %v", i, err)
		}
		if _, err := Split(good[:i]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("cut to %d bytes: %v", i, err)
		}
	}
}

func TestFrameIsBoundedByItsIndex(t *testing.T) {
	var f Frame
	n := 0
	for f.Add(nil) {
		n++
	}
	if n != MaxRecords-1 {
		t.Errorf("a frame took %d records", n)
	}
	f.Reset()
	if !f.Add([]byte("x")) || f.Count() != 1 {
		t.Error("a frame that was reset is not empty")
	}
}

func TestRecordRoundTrip(t *testing.T) {
	want := Record{Kind: KindPub, Account: []byte("alice"), Resource: []byte("phone"), Epoch: 1 << 40, PacketID: 65535, Body: []byte("body")}
	var got Record
	if err := got.Decode(want.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Append(nil), want.Append(nil)) || string(got.Resource) != "phone" || got.Epoch != 1<<40 {
		t.Errorf("got %+v", got)
	}
}

func TestPositionsAreOrderedAsTheLogIs(t *testing.T) {
	if At(2, 0) <= At(1, MaxRecords-1) || At(5, 3).Seq() != 5 || At(5, 3).Index() != 3 || At(5, 3).String() != "5/3" {
		t.Error("positions do not order by sequence, then index")
	}
}

func TestPostingsFollowAPlainList(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Postings
		var all []Position // every position ever added, in order
		trimmed := 0
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				pos := Position(rapid.IntRange(1, 1000).Draw(t, "pos"))
				if len(all) > trimmed && pos <= all[len(all)-1] {
					p.Add(pos, 10)
					return
				}
				if len(all) > 0 && pos <= all[len(all)-1] {
					t.Skip("older than what was trimmed")
				}
				p.Add(pos, 10)
				all = append(all, pos)
			},
			"trim": func(t *rapid.T) {
				pos := Position(rapid.IntRange(1, 1000).Draw(t, "pos"))
				p.Trim(pos)
				for trimmed < len(all) && all[trimmed] < pos {
					trimmed++
				}
			},
			"": func(t *rapid.T) {
				var got []Position
				place := 0
				for {
					pos, at, ok := p.Get(place)
					if !ok {
						break
					}
					got = append(got, pos)
					place = at + 1
				}
				if !slices.Equal(got, all[trimmed:]) || p.Len() != len(got) {
					t.Fatalf("postings %v, want %v", got, all[trimmed:])
				}
			},
		})
	})
}

func FuzzSplit(f *testing.F) {
	var frame Frame
	frame.Add([]byte("record"))
	f.Add(bytes.Clone(frame.Bytes()))
	f.Fuzz(func(t *testing.T, b []byte) {
		recs, err := Split(b)
		if err != nil {
			return
		}
		var again Frame
		for _, r := range recs {
			again.Add(r)
		}
		if _, err := Split(again.Bytes()); err != nil {
			t.Fatal(err)
		}
	})
}

func FuzzRecord(f *testing.F) {
	r := Record{Kind: KindSub, Account: []byte("a"), Epoch: 3, PacketID: 9, Body: []byte("b")}
	f.Add(r.Append(nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		var r, again Record
		if r.Decode(b) != nil {
			return
		}
		if err := again.Decode(r.Append(nil)); err != nil || !bytes.Equal(again.Body, r.Body) {
			t.Fatalf("%+v does not survive: %v", r, err)
		}
	})
}

func TestPostingsCountBytes(t *testing.T) {
	var p Postings
	for i := range 10 {
		p.Add(Position(i+1), 100+i)
	}
	if n, b := p.From(0); n != 10 || b != 1045 {
		t.Errorf("From(0) = %d, %d", n, b)
	}
	if n, b := p.From(8); n != 2 || b != 217 {
		t.Errorf("From(8) = %d, %d", n, b)
	}
	p.Trim(4)
	if n, b := p.From(8); n != 2 || b != 217 {
		t.Errorf("From(8) after a trim = %d, %d", n, b)
	}
	if n, _ := p.From(10); n != 0 {
		t.Errorf("From the end = %d", n)
	}
	sum := 0
	for pos, size := range p.Each {
		if pos != 4 && size != 99+int(pos) {
			t.Errorf("record %d has %d bytes", pos, size)
		}
		sum++
	}
	if sum != 7 {
		t.Errorf("%d records", sum)
	}
	p.Trim(99)
	for pos := range p.Each {
		t.Errorf("position %d is left", pos)
	}
}

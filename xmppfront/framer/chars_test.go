package framer

import "testing"

// TestWordsAgreeWithClasses puts each pair of bytes at each place of two words:
// what plainText and plainValue pass over must be plain, and what they stop at
// must not, but for the bytes above the first stop.
func TestWordsAgreeWithClasses(t *testing.T) {
	tests := map[string]struct {
		pass func([]byte, int) int
		bits uint8
	}{"text": {plainText, isText}, "value": {plainValue, isValue}}
	for name, tt := range tests {
		for pair := range 1 << 16 {
			d := []byte("xxxxxxxxxxxxxxxxxx")
			at := pair % 15
			d[at], d[at+1] = byte(pair>>8), byte(pair)
			want := 0
			for want < 16 && is(d[want], tt.bits) {
				want++
			}
			got := tt.pass(d, 0)
			for i := range got {
				if !is(d[i], tt.bits) {
					t.Fatalf("%s: %q: passed over byte %d", name, d, i)
				}
			}
			if got < want && is(d[got], tt.bits) && d[got] >= ' ' { // white space may stop it
				t.Fatalf("%s: %q: stopped at byte %d, want %d", name, d, got, want)
			}
		}
	}
}

func TestNameCharacters(t *testing.T) {
	tests := map[string]struct{ first, later bool }{
		"é": {true, true}, "ю": {true, true}, "漢": {true, true}, "\u3007": {true, true}, "ö": {true, true},
		"·": {false, true}, "\u0301": {false, true}, "\u0660": {false, true},
		"×": {}, "÷": {}, "\u2070": {}, "\u200C": {}, "\uFB01": {}, "\uFFFD": {}, "\uFFFE": {}, "\U00010400": {}, "\xC3x": {},
	}
	for in, want := range tests {
		if nameLen([]byte(in), true) > 0 != want.first || nameLen([]byte(in), false) > 0 != want.later {
			t.Errorf("%q: want %+v", in, want)
		}
	}
}

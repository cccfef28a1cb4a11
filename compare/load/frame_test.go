package load

import (
	"bytes"
	"testing"
)

func TestFramesAreEncodedAsTheSpecificationSays(t *testing.T) {
	stamped := newTemplate("a/b", 1, 18)
	tests := []struct {
		name string
		got  []byte
		want string
	}{
		{"anonymous CONNECT", appendConnect(nil, "c1", Login{}, false), "\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02c1"},
		{"persistent CONNECT", appendConnect(nil, "c1", Login{}, true), "\x10\x0e\x00\x04MQTT\x04\x00\x00\x00\x00\x02c1"},
		{
			"CONNECT with login", appendConnect(nil, "c", Login{User: "u", Password: "pw"}, false),
			"\x10\x14\x00\x04MQTT\x04\xc2\x00\x00\x00\x01c\x00\x01u\x00\x02pw",
		},
		{"a password needs a user name", appendConnect(nil, "c", Login{Password: "pw"}, false), "\x10\x0d\x00\x04MQTT\x04\x02\x00\x00\x00\x01c"},
		{"SUBSCRIBE", appendSubscribe(nil, 1, "a/b", 2), "\x82\x08\x00\x01\x00\x03a/b\x02"},
		{"PUBACK", appendAck(nil, typePuback, 0x102), "\x40\x02\x01\x02"},
		{"PUBREC", appendAck(nil, typePubrec, 1), "\x50\x02\x00\x01"},
		{"PUBREL carries flags 2", appendAck(nil, typePubrel, 1), "\x62\x02\x00\x01"},
		{"PUBCOMP", appendAck(nil, typePubcomp, 1), "\x70\x02\x00\x01"},
		{"DISCONNECT", appendDisconnect(nil), "\xe0\x00"},
		{"PUBLISH at QoS 0", ptr(newTemplate("t", 0, 3)).appendTo(nil, 7, 8, 9), "\x30\x06\x00\x01tabc"},
		{
			"PUBLISH with id and stamp", stamped.appendTo(nil, 0x0203, 5, 6),
			"\x32\x19\x00\x03a/b\x02\x03\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00\x06qr",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if string(tt.got) != tt.want {
				t.Errorf("got  %q\nwant %q", tt.got, tt.want)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

func TestRemainingLengthTakesAsManyBytesAsItNeeds(t *testing.T) {
	for _, n := range []int{0, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, maxRemaining} {
		b := appendLength([]byte{0x30}, n)
		if n > 1<<22 { // do not allocate the body, only see it wanted
			if _, size, err := nextFrame(b, maxRemaining); size != 0 || err != nil {
				t.Errorf("length %d: size %d, error %v", n, size, err)
			}
			continue
		}
		f, size, err := nextFrame(append(b, make([]byte, n)...), maxRemaining)
		if err != nil || len(f.body) != n || size != len(b)+n {
			t.Errorf("length %d: body %d, size %d, error %v", n, len(f.body), size, err)
		}
	}
}

func TestBadFramesAreErrors(t *testing.T) {
	tests := []struct{ name, data string }{
		{"length of five bytes", "\x30\xff\xff\xff\xff\x01"},
		{"body over the limit", "\x30\xff\x7f"},
		{"QoS 3", "\x36\x05\x00\x01t\x00\x01"},
		{"no topic length", "\x30\x01\x00"},
		{"topic beyond the frame", "\x30\x03\x00\x05t"},
		{"no room for the packet id", "\x32\x04\x00\x01t\x00"},
		{"packet id 0", "\x32\x05\x00\x01t\x00\x00"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, n, err := nextFrame([]byte(tt.data), 1000)
			if err == nil && n > 0 {
				_, err = f.delivery()
			}
			if err == nil {
				t.Errorf("%q was accepted", tt.data)
			}
		})
	}
}

// FuzzNextFrame cuts the input at a point and reads it as two batches: the
// frames must be those of one batch, and each must cover its bytes exactly.
func FuzzNextFrame(f *testing.F) {
	publish := newTemplate("a/b", 1, 20)
	f.Add(publish.appendTo(appendAck(nil, typePuback, 1), 3, 4, 5), 6)
	f.Add(appendConnect(nil, "c", Login{}, false), 1)
	f.Add([]byte("\x30\xff\xff\xff\xff\x01"), 3)
	f.Add([]byte("\x32\x05\x00\x01t\x00\x00"), 2)
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		whole, wholeErr := readFrames(t, nil, data)
		cut = max(0, min(cut, len(data)))
		first, err := readFrames(t, nil, data[:cut])
		if err == nil {
			first, err = readFrames(t, first, data)
		}
		if (err == nil) != (wholeErr == nil) {
			t.Fatalf("in two batches %v, in one %v", err, wholeErr)
		}
		if err == nil && !bytes.Equal(bytes.Join(first, nil), bytes.Join(whole, nil)) {
			t.Fatal("frames differ between one batch and two")
		}
	})
}

// readFrames reads on in data behind the frames that were read already.
func readFrames(t *testing.T, have [][]byte, data []byte) ([][]byte, error) {
	for _, raw := range have {
		data = data[len(raw):]
	}
	for len(data) > 0 {
		f, n, err := nextFrame(data, 1<<16)
		if err != nil {
			return have, err
		}
		if n == 0 {
			break
		}
		if n < len(f.body)+2 || n > len(f.body)+5 {
			t.Fatalf("frame of %d bytes with a body of %d", n, len(f.body))
		}
		if f.kind() == typePublish {
			if d, err := f.delivery(); err == nil && len(d.payload) > len(f.body)-2 {
				t.Fatal("payload longer than its frame")
			}
		}
		have = append(have, data[:n])
		data = data[n:]
	}
	return have, nil
}

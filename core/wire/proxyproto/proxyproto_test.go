package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// v2 makes a version 2 header.
func v2(command, family byte, body ...[]byte) string {
	all := bytes.Join(body, nil)
	head := append([]byte("\r\n\r\n\x00\r\nQUIT\n"), command, family)
	return string(append(binary.BigEndian.AppendUint16(head, uint16(len(all))), all...))
}

var (
	inet  = []byte{192, 0, 2, 7, 198, 51, 100, 1, 0x30, 0x39, 0x07, 0x5b}
	inet6 = append(append(append([]byte{0x20, 0x01, 0x0d, 0xb8}, make([]byte, 11)...), 7), append(make([]byte, 16), 0x30, 0x39, 0x07, 0x5b)...)
	paths = append(append([]byte("/run/ours"), make([]byte, 108-9)...), make([]byte, 108)...)
	noop  = []byte{4, 0, 3, 1, 2, 3} // PP2_TYPE_NOOP
)

// withSum adds a checksum TLV, which is off by wrong.
func withSum(body []byte, wrong uint32) string {
	h := []byte(v2(0x21, 0x11, body, noop, []byte{3, 0, 4, 0, 0, 0, 0}))
	sum := crc32.Checksum(h, crc32.MakeTable(crc32.Castagnoli))
	binary.BigEndian.PutUint32(h[len(h)-4:], sum+wrong)
	return string(h)
}

func TestRead(t *testing.T) {
	for _, c := range []struct {
		name, header string
		from         string // "": the socket's own
		bad          bool
	}{
		{name: "v1 TCP4", header: "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\n", from: "192.0.2.7:12345"},
		{name: "v1 TCP6", header: "PROXY TCP6 2001:db8::7 2001:db8::1 12345 1883\r\n", from: "[2001:db8::7]:12345"},
		{name: "v1 unknown", header: "PROXY UNKNOWN\r\n"},
		{name: "v1 unknown with addresses", header: "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n"},
		{name: "v1 longest", header: "PROXY UNKNOWN " + strings.Repeat("x", 107-16) + "\r\n"},
		{name: "v1 too long", header: "PROXY UNKNOWN " + strings.Repeat("x", 107-15) + "\r\n", bad: true},
		{name: "v1 without CR", header: "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\n  ", bad: true},
		{name: "v1 of the other family", header: "PROXY TCP4 2001:db8::7 2001:db8::1 12345 1883\r\n", bad: true},
		{name: "v1 port out of range", header: "PROXY TCP4 192.0.2.7 198.51.100.1 65536 1883\r\n", bad: true},
		{name: "v1 port with a zero before", header: "PROXY TCP4 192.0.2.7 198.51.100.1 012 1883\r\n", bad: true},
		{name: "v1 bad destination", header: "PROXY TCP4 192.0.2.7 there 12 1883\r\n", bad: true},
		{name: "v1 two spaces", header: "PROXY TCP4  192.0.2.7 198.51.100.1 12345 1883\r\n", bad: true},
		{name: "v1 other protocol", header: "PROXY UDP4 192.0.2.7 198.51.100.1 12345 1883\r\n", bad: true},
		{name: "v1 with a zone", header: "PROXY TCP6 fe80::1%eth0 fe80::2 12345 1883\r\n", bad: true},
		{name: "v2 inet", header: v2(0x21, 0x11, inet), from: "192.0.2.7:12345"},
		{name: "v2 inet6", header: v2(0x21, 0x21, inet6), from: "[2001:db8::7]:12345"},
		{name: "v2 unix", header: v2(0x21, 0x31, paths), from: "/run/ours"},
		{name: "v2 TLVs", header: v2(0x21, 0x11, inet, noop, []byte{1, 0, 1, 'x'}), from: "192.0.2.7:12345"},
		{name: "v2 checksum", header: withSum(inet, 0), from: "192.0.2.7:12345"},
		{name: "v2 wrong checksum", header: withSum(inet, 1), bad: true},
		{name: "v2 checksum of another size", header: v2(0x21, 0x11, inet, []byte{3, 0, 2, 1, 1}), bad: true},
		{name: "v2 cut off TLV", header: v2(0x21, 0x11, inet, []byte{4, 0, 9, 1}), bad: true},
		{name: "v2 half a TLV", header: v2(0x21, 0x11, inet, []byte{4}), bad: true},
		{name: "v2 local", header: v2(0x20, 0x00)},
		{name: "v2 local with an address", header: v2(0x20, 0x11, inet)},
		{name: "v2 local with rubbish", header: v2(0x20, 0x11, []byte{1})},
		{name: "v2 unspecified", header: v2(0x21, 0x00, noop)},
		{name: "v2 datagrams", header: v2(0x21, 0x12, inet)},
		{name: "v2 short addresses", header: v2(0x21, 0x11, inet[:11]), bad: true},
		{name: "v2 other version", header: v2(0x11, 0x11, inet), bad: true},
		{name: "v2 other command", header: v2(0x22, 0x11, inet), bad: true},
		{name: "v2 other family", header: v2(0x21, 0x41, inet), bad: true},
		{name: "v2 other protocol", header: v2(0x21, 0x13, inet), bad: true},
		{name: "v2 too long", header: v2(0x21, 0x11, inet, []byte{4, 0x10, 0}, make([]byte, 0x1000)), bad: true},
		{name: "no header", header: "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c", bad: true},
		{name: "nothing", header: "", bad: true},
		{name: "cut off", header: "PROXY TCP4 192.0.2.7 198.", bad: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			const client = "client's own bytes"
			for _, r := range []io.Reader{strings.NewReader(c.header + client), iotest.OneByteReader(strings.NewReader(c.header + client))} {
				if c.bad {
					r = io.LimitReader(r, int64(len(c.header)))
				}
				from, err := Read(r)
				if c.bad {
					if !errors.Is(err, ErrHeader) {
						t.Fatalf("got %v, %v; want ErrHeader", from, err)
					}
					continue
				}
				got := ""
				if from != nil {
					got = from.String()
				}
				if err != nil || got != c.from {
					t.Fatalf("got %q, %v; want %q", got, err, c.from)
				}
				if rest, _ := io.ReadAll(r); string(rest) != client {
					t.Fatalf("%q is left behind the header, want %q", rest, client)
				}
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\nx"))
	f.Add([]byte("PROXY UNKNOWN\r\n"))
	f.Add([]byte(v2(0x21, 0x11, inet, noop)))
	f.Add([]byte(v2(0x21, 0x31, paths)))
	f.Add([]byte(v2(0x20, 0x00)))
	f.Add([]byte(withSum(inet, 0)))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := bytes.NewReader(data)
		from, err := Read(r)
		if taken := len(data) - r.Len(); taken > maxV2 {
			t.Fatalf("took %d bytes", taken)
		}
		if err != nil {
			if !errors.Is(err, ErrHeader) || from != nil {
				t.Fatalf("got %v, %v", from, err)
			}
			return
		}
		// The same bytes, in other portions, are the same header.
		again := bytes.NewReader(data)
		from2, err := Read(iotest.OneByteReader(again))
		if err != nil || again.Len() != r.Len() || from != nil && from.String() != from2.String() {
			t.Fatalf("got %v, then %v, %v", from, from2, err)
		}
	})
}

package faults

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"testing"
)

func TestMQTTPackets(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"CONNECT of 3.1.1", string(appendConnect(nil, 4, "c", "u", false)), "101f00044d51545404c0000000016300017500 0d" + hex.EncodeToString([]byte(Password))},
		{"SUBSCRIBE of 5", string(appendSubscribe(nil, 5, 7, []string{"a/#"}, 2)), "82 09 0007 00 0003612f23 02"},
		{"PUBREL", string(appendAck(nil, pktPubrel, 258)), "62 02 0102"},
		{"PUBACK", string(appendAck(nil, pktPuback, 258)), "40 02 0102"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			want, err := hex.DecodeString(string(bytes.ReplaceAll([]byte(tt.want), []byte(" "), nil)))
			if err != nil {
				t.Fatal(err)
			}
			if tt.got != string(want) {
				t.Errorf("got %x, want %x", tt.got, want)
			}
		})
	}
}

func TestPublishIsReadAsWritten(t *testing.T) {
	for _, level := range []byte{4, 5} {
		b := appendPublish(nil, level, true, 2, "a/b", 513, 12, 345)
		rd := &packetReader{in: bufio.NewReader(bytes.NewReader(b)), level: level}
		var p packet
		if err := rd.next(&p); err != nil {
			t.Fatal(err)
		}
		stream, seq, ok := parsePayload(p.payload)
		if p.kind != pktPublish || !p.dup || p.qos != 2 || p.id != 513 || p.topic != "a/b" || stream != 12 || seq != 345 || !ok {
			t.Errorf("MQTT %d: got %+v, message %d of stream %d", level, p, seq, stream)
		}
	}
}

func FuzzPacketReader(f *testing.F) {
	f.Add(appendPublish(nil, 5, true, 1, "a/b", 1, 2, 3), byte(5))
	f.Add(appendSubscribe(nil, 4, 1, []string{"a"}, 1), byte(4))
	f.Add([]byte{pktConnack << 4, 2, 1, 0}, byte(4))
	f.Add([]byte{pktSuback << 4, 4, 0, 1, 0, 2}, byte(5))
	f.Fuzz(func(_ *testing.T, b []byte, level byte) {
		rd := &packetReader{in: bufio.NewReader(bytes.NewReader(b)), level: 4 + level%2}
		var p packet
		for rd.next(&p) == nil {
			_, _, _ = parsePayload(p.payload)
		}
	})
}

// TestLedger plays deliveries to a receiver at QoS 2 and sees what the books say.
func TestLedger(t *testing.T) {
	tests := []struct {
		name  string
		kind  Kind
		acked []int
		came  []int
		want  [violationKinds]int
	}{
		{"all is well", MQTT2, []int{1, 2, 3}, []int{1, 2, 3}, [violationKinds]int{}},
		{"unacknowledged and lost", MQTT2, []int{1, 3}, []int{1, 3}, [violationKinds]int{}},
		{"acknowledged and lost", MQTT2, []int{1, 2, 3}, []int{1, 3}, [violationKinds]int{lost: 1}},
		{"the last is lost", MQTT1, []int{1, 2, 3}, []int{1, 2}, [violationKinds]int{lost: 1}},
		{"twice at QoS 2", MQTT2, []int{1, 2, 3}, []int{1, 2, 2, 3}, [violationKinds]int{doubled: 1}},
		{"twice at QoS 1", MQTT1, []int{1, 2, 3}, []int{1, 2, 3, 2, 3}, [violationKinds]int{}},
		{"out of order", MQTT1, []int{1, 2, 3}, []int{1, 3, 2}, [violationKinds]int{reordered: 1}},
		{"never sent", MQTT1, nil, []int{0}, [violationKinds]int{broken: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLedger()
			s := l.stream(tt.kind, "a", l.history("sender"))
			in := newInbox(l, l.history("receiver"))
			in.entitle(s, 2)
			for range 3 {
				s.next(l.stamp())
			}
			for _, seq := range tt.acked {
				s.acked(seq, l.stamp())
			}
			for _, seq := range tt.came {
				in.got(appendPayload(nil, s.index, seq), "in a test")
			}
			if in.missing() != tt.want[lost] {
				t.Errorf("missing %d, want %d", in.missing(), tt.want[lost])
			}
			in.settle()
			for k, want := range tt.want {
				if got := l.count(violationKind(k)); got != want {
					t.Errorf("%s: %d, want %d", violationKind(k), got, want)
				}
			}
		})
	}
}

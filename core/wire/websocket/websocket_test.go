package websocket

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const final = finalBit

// frame makes a client's frame, with the shortest length there is.
func frame(first byte, payload string) string {
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d}
	b := []byte{first}
	switch n := len(payload); {
	case n <= 125:
		b = append(b, maskedBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskedBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskedBit|127), uint64(n))
	}
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i%4])
	}
	return string(b)
}

func TestDecode(t *testing.T) {
	long := strings.Repeat("0123456789", 1000)
	huge := strings.Repeat("x", 1<<16)
	for _, c := range []struct {
		name, wire, payload string
		code                uint16 // of the closing; 0: none
		why                 string
		pong                string
	}{
		{name: "one frame", wire: frame(final|opBinary, "hello"), payload: "hello"},
		{name: "the example of RFC 6455 §5.7", wire: "\x82\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58", payload: "Hello"},
		{name: "an empty frame", wire: frame(final|opBinary, "") + frame(final|opBinary, "x"), payload: "x"},
		{name: "16 bits of length", wire: frame(final|opBinary, long), payload: long},
		{name: "64 bits of length", wire: frame(final|opBinary, huge), payload: huge},
		{name: "fragments", wire: frame(opBinary, "a") + frame(opContinuation, "b") + frame(final|opContinuation, "c"), payload: "abc"},
		{name: "a ping between fragments", wire: frame(opBinary, "a") + frame(final|opPing, "you") + frame(final|opContinuation, "b"), payload: "ab", pong: "you"},
		{name: "pings", wire: frame(final|opPing, "one") + frame(final|opPing, "two"), pong: "two"},
		{name: "a pong", wire: frame(final|opPong, "late") + frame(final|opBinary, "x"), payload: "x"},
		{name: "close", wire: frame(final|opBinary, "x") + frame(final|opClose, "\x03\xe8bye"), payload: "x", code: 1000},
		{name: "close without a code", wire: frame(final|opClose, ""), code: 1000},
		{name: "close with an application's code", wire: frame(final|opClose, "\x0f\xa0"), code: 4000},
		{name: "close of one byte", wire: frame(final|opClose, "\x03"), code: 1002, why: "one byte"},
		{name: "close with a code that is not for sending", wire: frame(final|opClose, "\x03\xee"), code: 1002, why: "close code 1006"},
		{name: "text", wire: frame(final|opText, "hello"), code: 1003, why: "text"},
		{name: "not masked", wire: "\x82\x05hello", code: 1002, why: "masked"},
		{name: "a reserved bit", wire: frame(final|0x40|opBinary, "x"), code: 1002, why: "reserved"},
		{name: "a reserved opcode", wire: frame(final|0x3, "x"), code: 1002, why: "opcode"},
		{name: "a reserved control opcode", wire: frame(final|0xB, "x"), code: 1002, why: "opcode"},
		{name: "continuation of nothing", wire: frame(final|opContinuation, "x"), code: 1002, why: "order"},
		{name: "a message inside another", wire: frame(opBinary, "a") + frame(final|opBinary, "b"), payload: "a", code: 1002, why: "order"},
		{name: "a fragmented ping", wire: frame(opPing, "x"), code: 1002, why: "control"},
		{name: "a long ping", wire: frame(final|opPing, strings.Repeat("x", 126)), code: 1002, why: "control"},
		{name: "16 bits for a short length", wire: "\x82\xfe\x00\x7d1234", code: 1002, why: "length"},
		{name: "64 bits for a short length", wire: "\x82\xff\x00\x00\x00\x00\x00\x00\xff\xff1234", code: 1002, why: "length"},
		{name: "a negative length", wire: "\x82\xff\x80\x00\x00\x00\x00\x01\x00\x001234", code: 1002, why: "length"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, portion := range []int{len(c.wire), 1, 7} {
				var d decoder
				payload, err := decodeBy(&d, []byte(c.wire), portion)
				if string(payload) != c.payload {
					t.Fatalf("by %d: payload %.40q, want %.40q", portion, payload, c.payload)
				}
				if string(d.pong[:d.ponged]) != c.pong || d.pinged != (c.pong != "") {
					t.Errorf("by %d: pong %q, want %q", portion, d.pong[:d.ponged], c.pong)
				}
				var end *closing
				switch {
				case c.code == 0 && err != nil:
					t.Errorf("by %d: %v", portion, err)
				case c.code == 0:
				case !errors.As(err, &end) || end.code != c.code || !strings.Contains(end.why, c.why) || c.why == "" && end.why != "":
					t.Errorf("by %d: %v, want %d %q", portion, err, c.code, c.why)
				}
			}
		})
	}
}

func decodeBy(d *decoder, wire []byte, portion int) (payload []byte, err error) {
	for len(wire) > 0 && err == nil {
		p := bytes.Clone(wire[:min(portion, len(wire))])
		wire = wire[len(p):]
		var n int
		n, err = d.decode(p)
		payload = append(payload, p[:n]...)
	}
	return payload, err
}

// FuzzDecode: what a client's bytes mean does not depend on how they are cut.
func FuzzDecode(f *testing.F) {
	f.Add([]byte(frame(final|opBinary, "hello")), 1)
	f.Add([]byte(frame(opBinary, "a")+frame(final|opPing, "p")+frame(final|opContinuation, "b")), 3)
	f.Add([]byte(frame(final|opBinary, strings.Repeat("x", 300))+frame(final|opClose, "\x03\xe8")), 5)
	f.Add([]byte(frame(final|opText, "hello")), 2)
	f.Fuzz(func(t *testing.T, wire []byte, portion int) {
		if portion <= 0 {
			return
		}
		var one, many decoder
		whole, err1 := decodeBy(&one, wire, len(wire))
		parts, err2 := decodeBy(&many, wire, portion)
		if !bytes.Equal(whole, parts) || (err1 == nil) != (err2 == nil) || err1 != nil && err1.Error() != err2.Error() {
			t.Fatalf("at once %q %v, in parts of %d %q %v", whole, err1, portion, parts, err2)
		}
		if len(whole) > len(wire) || one.open != many.open || one.left != many.left {
			t.Fatalf("states differ: %+v %+v", one, many)
		}
	})
}

const key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// request makes one; a header that is given twice replaces the usual.
func request(first string, headers ...string) string {
	usual := []string{"Host: hub:9001", "Upgrade: websocket", "Connection: keep-alive, Upgrade", "Sec-WebSocket-Version: 13", key[:len(key)-2], "Sec-WebSocket-Protocol: mqtt"}
	lines := []string{first}
	for _, u := range usual {
		name, _, _ := strings.Cut(u, ":")
		replaced := false
		for _, h := range headers {
			replaced = replaced || strings.HasPrefix(h, name+":")
		}
		if !replaced {
			lines = append(lines, u)
		}
	}
	for _, h := range headers {
		if !strings.HasSuffix(h, ":") { // a name alone takes the usual away
			lines = append(lines, h)
		}
	}
	return strings.Join(lines, "\r\n") + "\r\n\r\n"
}

// dial makes both ends of a connection.
func dial(t *testing.T, opt Options) (client net.Conn, server *Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	if err := client.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	server = Server(nc, &opt)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

func TestUpgrade(t *testing.T) {
	get := "GET /mqtt HTTP/1.1"
	for _, c := range []struct {
		name, request string
		origins       []string
		status        int
		protocol      string
	}{
		{name: "a client", request: request(get), status: 101, protocol: "mqtt"},
		{name: "an old client", request: request(get, "Sec-WebSocket-Protocol: mqttv3.1"), status: 101, protocol: "mqttv3.1"},
		{name: "of several protocols", request: request(get, "Sec-WebSocket-Protocol: mqttv3.1, mqtt"), status: 101, protocol: "mqtt"},
		{name: "with a query", request: request("GET /mqtt?x=1 HTTP/1.1"), status: 101, protocol: "mqtt"},
		{name: "no protocol", request: request(get, "Sec-WebSocket-Protocol:"), status: 400},
		{name: "another protocol", request: request(get, "Sec-WebSocket-Protocol: chat"), status: 400},
		{name: "a page of the same host", request: request(get, "Origin: http://HUB:9001"), status: 101, protocol: "mqtt"},
		{name: "a page that names the usual port", request: request(get, "Host: hub", "Origin: https://hub:443"), status: 101, protocol: "mqtt"},
		{name: "a host that names the usual port", request: request(get, "Host: hub:80", "Origin: http://hub"), status: 101, protocol: "mqtt"},
		{name: "a page of another port that goes without saying", request: request(get, "Host: hub:80", "Origin: https://hub"), status: 403},
		{name: "a page of another port", request: request(get, "Origin: http://hub:80"), status: 403},
		{name: "a page of another host", request: request(get, "Origin: https://evil.example"), status: 403},
		{name: "a file", request: request(get, "Origin: null"), status: 403},
		{name: "two origins", request: request(get, "Origin: http://hub:9001", "Origin: https://evil.example"), status: 403},
		{name: "a page that is listed", request: request(get, "Origin: https://app.example"), origins: []string{"https://app.example"}, status: 101, protocol: "mqtt"},
		{name: "a page under a listed one", request: request(get, "Origin: https://app.example.evil"), origins: []string{"https://app.example"}, status: 403},
		{name: "any page", request: request(get, "Origin: null"), origins: []string{"*"}, status: 101, protocol: "mqtt"},
		{name: "another path", request: request("GET / HTTP/1.1"), status: 404},
		{name: "POST", request: request("POST /mqtt HTTP/1.1"), status: 405},
		{name: "HTTP/1.0", request: request("GET /mqtt HTTP/1.0"), status: 400},
		{name: "a browser's page view", request: "GET /mqtt HTTP/1.1\r\nHost: hub\r\n\r\n", status: 426},
		{name: "version 8", request: request(get, "Sec-WebSocket-Version: 8"), status: 426},
		{name: "a short key", request: request(get, "Sec-WebSocket-Key: AAAA"), status: 400},
		{name: "two keys", request: request(get, key[:len(key)-2], key[:len(key)-2]), status: 400},
		{name: "a body", request: request(get, "Content-Length: 5") + "hello", status: 400},
		{name: "MQTT", request: "\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00\r\n\r\n", status: 400},
		{name: "a header without an end", request: "GET /mqtt HTTP/1.1\r\nX: " + strings.Repeat("x", 2*maxRequest), status: 431},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, server := dial(t, Options{Path: "/mqtt", Protocols: []string{"mqtt", "mqttv3.1"}, Origins: c.origins})
			first := ""
			if c.status == 101 {
				first = frame(final|opBinary, "behind the request")
			}
			var reading sync.WaitGroup
			defer reading.Wait()
			reading.Go(func() {
				var got [100]byte
				n, err := server.Read(got[:])
				var refusal *Refusal
				switch {
				case c.status == 101 && string(got[:n]) != "behind the request":
					t.Errorf("read %q, %v", got[:n], err)
				case c.status != 101 && (!errors.As(err, &refusal) || refusal.Status != c.status):
					t.Errorf("read %q, %v", got[:n], err)
				}
			})
			if _, err := io.WriteString(client, c.request+first); err != nil {
				t.Fatal(err)
			}
			answer, err := http.ReadResponse(newReader(client), nil)
			if err != nil {
				t.Fatal(err)
			}
			defer answer.Body.Close()
			if answer.StatusCode != c.status || answer.Header.Get("Sec-WebSocket-Protocol") != c.protocol {
				t.Errorf("got %d %q", answer.StatusCode, answer.Header.Get("Sec-WebSocket-Protocol"))
			}
			if c.status == 101 && answer.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" { // RFC 6455 §1.3
				t.Errorf("the proof is %q", answer.Header.Get("Sec-WebSocket-Accept"))
			}
			client.Close()
		})
	}
}

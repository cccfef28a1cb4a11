package load

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
)

// relay is the least that looks like a broker: it answers greetings and then
// copies what the publisher of a topic writes to the topic's one subscriber.
type relay struct {
	listener net.Listener
	conns    sync.WaitGroup
	connack  byte // return code
	dropAt   int  // swallow each dropAt'th PUBLISH, and read frame by frame; 0 copies bytes
	hangUpAt int  // close the publisher at this PUBLISH; 0 never

	mu     sync.Mutex // guards topics and open
	topics map[string]net.Conn
	open   []net.Conn
}

func startRelay(r *relay) (*relay, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r.listener, r.topics = l, map[string]net.Conn{}
	r.conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			r.mu.Lock()
			r.open = append(r.open, conn)
			r.mu.Unlock()
			r.conns.Go(func() {
				defer conn.Close()
				r.serve(conn)
			})
		}
	})
	return r, nil
}

func (r *relay) addr() string { return r.listener.Addr().String() }

func (r *relay) close() {
	r.listener.Close()
	r.mu.Lock()
	for _, c := range r.open {
		c.Close()
	}
	r.mu.Unlock()
	r.conns.Wait()
}

func (r *relay) serve(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, 64<<10)
	if _, err := readRaw(in); err != nil { // CONNECT
		return err
	}
	if _, err := conn.Write([]byte{typeConnack << 4, 2, 0, r.connack}); err != nil {
		return err
	}
	raw, err := readRaw(in)
	if err != nil {
		return err
	}
	f, _, err := nextFrame(raw, maxRemaining)
	if err != nil {
		return err
	}
	if f.kind() == typeSubscribe {
		return r.subscribe(conn, in, f)
	}
	if f.kind() != typePublish {
		return errors.New("that was all: DISCONNECT")
	}
	topic := f.body[2 : 2+binary.BigEndian.Uint16(f.body)]
	r.mu.Lock()
	to := r.topics[string(topic)]
	r.mu.Unlock()
	if r.dropAt > 0 || r.hangUpAt > 0 {
		return r.forward(in, to, raw)
	}
	if _, err := to.Write(raw); err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{in}, make([]byte, 64<<10))
	return err
}

func (r *relay) subscribe(conn net.Conn, in io.Reader, f frame) error {
	size := binary.BigEndian.Uint16(f.body[2:])
	r.mu.Lock()
	r.topics[string(f.body[4:4+size])] = conn
	r.mu.Unlock()
	answer := []byte{typeSuback << 4, 3, f.body[0], f.body[1], f.body[len(f.body)-1]}
	if _, err := conn.Write(answer); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, in)
	return err
}

func (r *relay) forward(in *bufio.Reader, to net.Conn, raw []byte) error {
	for n := 1; ; n++ {
		if n == r.hangUpAt {
			return errors.New("hanging up")
		}
		if r.dropAt == 0 || n%r.dropAt != 0 {
			if _, err := to.Write(raw); err != nil {
				return err
			}
		}
		var err error
		if raw, err = readRaw(in); err != nil {
			return err
		}
	}
}

func readRaw(in *bufio.Reader) ([]byte, error) {
	for n := 2; ; n++ {
		head, err := in.Peek(n)
		if err != nil {
			return nil, err
		}
		if head[n-1] >= 0x80 {
			continue
		}
		size := n
		for i, b := range head[1:] {
			size += int(b&0x7f) << (7 * i)
		}
		raw := make([]byte, size)
		_, err = io.ReadFull(in, raw)
		return raw, err
	}
}

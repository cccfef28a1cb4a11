package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// handshakeTime bounds connecting, CONNACK and SUBACK of one client.
const handshakeTime = 10 * time.Second

// refusals are the return codes of CONNACK, §3.2.2.3.
var refusals = []string{
	1: "unacceptable protocol version",
	2: "identifier rejected",
	3: "server unavailable",
	4: "bad user name or password",
	5: "not authorized",
}

// open connects a client and, for a subscriber, subscribes it. The caller
// closes the connection.
func open(ctx context.Context, addr string, l *link, login Login) (*net.TCPConn, error) {
	ctx, cancel := context.WithTimeout(ctx, handshakeTime)
	defer cancel()
	conn, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer unhook()
	if err := greet(conn, l, login); err != nil {
		conn.Close()
		return nil, errors.Join(err, ctx.Err())
	}
	return conn, nil
}

func greet(conn net.Conn, l *link, login Login) error {
	if err := introduce(conn, appendConnect(nil, l.client, login, l.persistent)); err != nil {
		return err
	}
	if s, ok := l.role.(*subscriber); ok {
		return s.subscribe(conn)
	}
	return nil
}

// introduce sends CONNECT and wants to be let in.
func introduce(conn net.Conn, connect []byte) error {
	f, err := ask(conn, connect)
	if err != nil {
		return fmt.Errorf("CONNECT: %w", err)
	}
	return f.admitted()
}

// admitted reads CONNACK.
func (f frame) admitted() error {
	if f.kind() != typeConnack || len(f.body) != 2 {
		return fmt.Errorf("CONNECT answered by packet type %d of %d bytes", f.kind(), len(f.body))
	}
	if code := int(f.body[1]); code != 0 {
		reason := "unknown reason"
		if code < len(refusals) {
			reason = refusals[code]
		}
		return fmt.Errorf("connection refused by the broker: %s (code %d)", reason, code)
	}
	return nil
}

func (s *subscriber) subscribe(conn net.Conn) error {
	f, err := ask(conn, appendSubscribe(nil, 1, s.group.topic, s.qos))
	if err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	if f.kind() != typeSuback || !bytes.HasPrefix(f.body, []byte{0, 1}) || len(f.body) != 3 {
		return fmt.Errorf("SUBSCRIBE answered by packet type %d of %d bytes", f.kind(), len(f.body))
	}
	if f.body[2] != s.qos {
		return fmt.Errorf("subscription at QoS %d answered with code %d", s.qos, f.body[2])
	}
	return nil
}

// forget ends the persistent sessions of the traffic's clients, whose connections
// are closed, and with them what the broker still holds for them. It stops at the
// first client that cannot be ended.
func (t *traffic) forget(ctx context.Context, addr string, login Login) error {
	for _, l := range t.links {
		if !l.persistent {
			continue
		}
		conn, err := open(ctx, addr, &link{client: l.client}, login)
		if err != nil {
			return fmt.Errorf("ending the session of client %s: %w", l.client, err)
		}
		_, _ = conn.Write(appendDisconnect(nil)) // a courtesy: a clean session ends with its socket anyway
		conn.Close()
	}
	return nil
}

// ask writes a request and reads the one frame that answers it.
func ask(conn net.Conn, request []byte) (frame, error) {
	if _, err := conn.Write(request); err != nil {
		return frame{}, err
	}
	var buf [64]byte // no answer to a greeting is longer
	for n := 0; ; {
		got, err := conn.Read(buf[n:])
		if errors.Is(err, io.EOF) {
			return frame{}, errors.New("the broker closed the connection")
		}
		if err != nil {
			return frame{}, err
		}
		n += got
		f, size, err := nextFrame(buf[:n], len(buf)-2)
		if err != nil || size == n {
			return f, err
		}
		if size > 0 {
			return frame{}, fmt.Errorf("%d unexpected bytes after the answer", n-size)
		}
		if n == len(buf) {
			return frame{}, errors.New("answer too long")
		}
	}
}

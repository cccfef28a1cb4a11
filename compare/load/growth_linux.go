package load

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

const (
	perRequest = 100             // filters in a SUBSCRIBE
	fillTime   = 2 * time.Minute // for the broker to take all subscriptions
)

// measureBeside measures pairs at QoS 0 beside sc.Count subscriptions that
// match none of their messages.
func measureBeside(ctx context.Context, s *server, sc Scenario, o Options) (Run, error) {
	id := rand.Text()[:10]
	held, err := holdSubscriptions(ctx, s.addr, id, sc.Count, o.Login)
	defer func() {
		for _, conn := range held {
			conn.Close()
		}
	}()
	if err != nil {
		return Run{}, err
	}
	return drive(ctx, s, newTraffic(sc, o, id), o)
}

// holdSubscriptions spreads count filters over some connections. The caller
// closes them, also on an error.
func holdSubscriptions(ctx context.Context, addr, id string, count int, login Login) ([]net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, fillTime)
	defer cancel()
	conns := min(holders, count)
	var held []net.Conn
	for h := range conns {
		conn, err := dial(ctx, addr)
		if err != nil {
			return held, err
		}
		held = append(held, conn)
		unhook := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
		err = hold(conn, fmt.Sprintf("bench-%s-h%d", id, h), login, func(yield func(string) bool) {
			for k := h; k < count; k += conns {
				if !yield(idleFilter(id, k)) {
					return
				}
			}
		})
		unhook()
		if err = errors.Join(err, ctx.Err()); err != nil {
			return held, fmt.Errorf("holder %d of %d: %w", h+1, conns, err)
		}
	}
	return held, nil
}

// idleFilter is the k'th filter that matches no topic of the run (bench/<id>/<n>),
// in the shapes that devices use, half of them exact. They share the first two
// levels with the topics, so that the broker meets them on its way.
func idleFilter(id string, k int) string {
	switch k % 4 {
	case 1:
		return fmt.Sprintf("bench/%s/+/x%d", id, k)
	case 3:
		return fmt.Sprintf("bench/%s/x%d/#", id, k)
	}
	return fmt.Sprintf("bench/%s/x%d/state", id, k)
}

// hold connects and subscribes to filters, a hundred at a time.
func hold(conn net.Conn, client string, login Login, filters func(func(string) bool)) error {
	if err := introduce(conn, appendConnect(nil, client, login, false)); err != nil {
		return err
	}
	var batch []string
	id := uint16(0)
	for f := range filters {
		if batch = append(batch, f); len(batch) == perRequest {
			id++
			if err := subscribeAll(conn, id, batch); err != nil {
				return err
			}
			batch = batch[:0]
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return subscribeAll(conn, id+1, batch)
}

// subscribeAll subscribes to at most perRequest filters at QoS 0 and wants all granted.
func subscribeAll(conn net.Conn, id uint16, filters []string) error {
	if _, err := conn.Write(appendSubscribeAll(nil, id, filters)); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	answer := make([]byte, 2+2+len(filters)) // below 128 bytes of body: one length byte
	if _, err := io.ReadFull(conn, answer); err != nil {
		return fmt.Errorf("SUBSCRIBE: %w", err)
	}
	f, n, err := nextFrame(answer, len(answer))
	if err != nil || n != len(answer) || f.kind() != typeSuback || binary.BigEndian.Uint16(f.body) != id {
		return fmt.Errorf("SUBSCRIBE of %d filters answered by packet type %d", len(filters), answer[0]>>4)
	}
	for i, code := range f.body[2:] {
		if code != 0 {
			return fmt.Errorf("subscription to %s answered with code %d", filters[i], code)
		}
	}
	return nil
}

func appendSubscribeAll(dst []byte, id uint16, filters []string) []byte {
	size := 2
	for _, f := range filters {
		size += 3 + len(f)
	}
	dst = appendLength(append(dst, typeSubscribe<<4|2), size)
	dst = binary.BigEndian.AppendUint16(dst, id)
	for _, f := range filters {
		dst = append(appendString(dst, f), 0)
	}
	return dst
}

package load

import (
	"context"
	"crypto/rand"
	"fmt"

	"golang.org/x/sys/unix"
)

// measureOffline has the broker keep sc.Each messages for each of sc.Count
// sessions that are away, then hand them over, and returns a run for each half.
func measureOffline(ctx context.Context, s *server, sc Scenario, o Options) ([]Run, error) {
	o.Rate, o.Window = 0, sc.Each // the window of a group that nobody drains is all it sends
	t := newTraffic(sc, o, rand.Text()[:10])
	runs, err := storeAndDrain(ctx, s, sc, t, o)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTime)
	defer cancel()
	if forgetErr := t.forget(ctx, s.addr, o.Login); err == nil {
		err = forgetErr
	}
	if err != nil {
		return nil, err
	}
	return runs, nil
}

func storeAndDrain(ctx context.Context, s *server, sc Scenario, t *traffic, o Options) ([]Run, error) {
	defer pin()()
	if err := t.leave(ctx, s.addr, o.Login); err != nil {
		return nil, err
	}
	l, err := openLoop(ctx, t, s.addr, o)
	if err != nil {
		return nil, err
	}
	defer l.close()
	begin, err := l.mark(s)
	if err != nil {
		return nil, err
	}
	if err := l.store(ctx, uint64(sc.Count*sc.Each)); err != nil {
		return nil, err
	}
	stored, err := l.mark(s)
	if err != nil {
		return nil, err
	}
	if err := l.comeBack(ctx, s.addr, o.Login); err != nil {
		return nil, err
	}
	if err := l.drain(ctx); err != nil {
		return nil, err
	}
	drained, err := l.mark(s)
	if err != nil {
		return nil, err
	}
	drained.at = l.movedAt // what was waited for in vain is no part of it
	// How the stored messages arrive is the drain's affair.
	acked := tally{sent: t.tally.sent, expected: t.tally.sent, delivered: t.tally.sent}
	store, drain := newRun(&acked, begin, stored), newRun(&t.tally, stored, drained)
	store.Phase, drain.Phase = storing, draining
	store.Delivered = acked.sent
	return []Run{store, drain}, nil
}

// leave subscribes the sessions that outlive their connection, and closes it.
func (t *traffic) leave(ctx context.Context, addr string, login Login) error {
	for _, k := range t.links {
		if !k.persistent {
			continue
		}
		conn, err := open(ctx, addr, k, login)
		if err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
		k.away = true
		_, err = conn.Write(appendDisconnect(nil))
		conn.Close()
		if err != nil {
			return fmt.Errorf("client %s, DISCONNECT: %w", k.client, err)
		}
	}
	return nil
}

// store publishes until the broker has acknowledged all count messages.
func (l *loop) store(ctx context.Context, count uint64) error {
	t := l.traffic
	l.movedAt = l.now()
	for t.tally.sent < count || t.tally.unacked > 0 {
		if l.idle() > handshakeTime {
			return fmt.Errorf("the broker acknowledged %d of %d messages and stopped", t.tally.sent-t.tally.unacked, count)
		}
		now := l.now()
		if err := l.turn(ctx, now, now+int64(tick)); err != nil {
			return err
		}
	}
	return nil
}

// comeBack connects the clients that are away. CONNACK comes with the traffic:
// the broker may send a session's messages right behind it.
func (l *loop) comeBack(ctx context.Context, addr string, login Login) error {
	for _, k := range l.traffic.links {
		if !k.away {
			continue
		}
		conn, err := dial(ctx, addr)
		if err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
		if k.fd, err = takeFD(conn); err != nil {
			return fmt.Errorf("client %s: %w", k.client, err)
		}
		if err := l.watch(unix.EPOLL_CTL_ADD, k.fd, k.index, false); err != nil {
			return err
		}
		k.away, k.returning = false, true
		k.out = appendConnect(k.out[:0], k.client, login, true)
		l.traffic.touch(k)
	}
	return nil
}

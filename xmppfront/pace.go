package xmppfront

import (
	"time"

	"pushhub/core/wire"
)

// A pace is how fast one client may publish; it belongs to Input.
type pace struct {
	messages, bytes *wire.Bucket
	timer           *time.Timer
}

// newPace is nil where there is no bound.
func newPace(opt Options) *pace {
	if opt.PublishRate <= 0 && opt.PublishBytes <= 0 {
		return nil
	}
	return &pace{messages: wire.NewBucket(float64(opt.PublishRate)), bytes: wire.NewBucket(float64(opt.PublishBytes))}
}

// pay charges a message or item, of a stanza of that many bytes.
func (p *pace) pay(size int) {
	if p == nil {
		return
	}
	now := time.Now()
	p.messages.Take(now, 1)
	p.bytes.Take(now, float64(size))
}

// stop ends the last pause; the connection has ended.
func (p *pace) stop() {
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
}

// breath is the shortest pause: one for each message would cost more than the message.
const breath = 5 * time.Millisecond

// tooFast tells whether the client must wait before another stanza is taken, and
// has a timer resume the input. Until then nothing is read, and TCP makes it wait.
func (e *engine) tooFast() bool {
	p, now := e.pace, time.Now()
	wait := max(p.messages.Wait(now), p.bytes.Wait(now))
	if wait == 0 {
		return false
	}
	e.front.counts.paused.Add(1)
	wait = max(wait, breath)
	if p.timer == nil {
		p.timer = time.AfterFunc(wait, e.conn.Resume)
	} else {
		p.timer.Reset(wait)
	}
	return true
}

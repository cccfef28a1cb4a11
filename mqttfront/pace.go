package mqttfront

import (
	"errors"
	"time"

	"pushhub/core/wire"
)

// errTooFast asks for the same frame again when the client may publish more.
var errTooFast = errors.New("mqtt: the client publishes faster than it may")

// A pace is how fast one client may publish; the reader's own.
type pace struct {
	messages, bytes *wire.Bucket
	paid            bool          // for the frame at hand, which comes again for another reason
	pause           time.Duration // what tooFast found
	timer           *time.Timer
}

// newPace is nil where there is no bound.
func newPace(opt Options) *pace {
	if opt.PublishRate <= 0 && opt.PublishBytes <= 0 {
		return nil
	}
	return &pace{messages: wire.NewBucket(float64(opt.PublishRate)), bytes: wire.NewBucket(float64(opt.PublishBytes))}
}

// tooFast makes the client pay for a PUBLISH, and tells when it cannot.
func (p *pace) tooFast(f frame, now time.Time) bool {
	if p.paid {
		return false
	}
	if p.pause = max(p.messages.Wait(now), p.bytes.Wait(now)); p.pause > 0 {
		return true
	}
	p.messages.Take(now, 1)
	p.bytes.Take(now, float64(f.size))
	p.paid = true
	return false
}

// taken notes that the frame at hand will not come again.
func (p *pace) taken() {
	if p != nil {
		p.paid = false
	}
}

// stop ends the last pause; the connection has ended.
func (p *pace) stop() {
	if p != nil && p.timer != nil {
		p.timer.Stop()
	}
}

// breath is the shortest pause: one for each message would cost more than the message.
const breath = 5 * time.Millisecond

// slowDown has a timer wake the stalled Input: the next Tick would be late. Until
// then nothing is read, and TCP makes the client wait.
func (e *engine) slowDown() {
	e.front.count.paused.Add(1)
	p := e.pace
	if p.timer == nil {
		p.timer = time.AfterFunc(max(p.pause, breath), e.wake)
		return
	}
	p.timer.Reset(max(p.pause, breath))
}

package xmppfront

import (
	"strconv"
	"time"

	"mellium.im/xmpp/ping"
	"mellium.im/xmpp/version"
	"mellium.im/xmpp/xtime"

	"pushhub/core"
)

const (
	nsPing    = ping.NS
	nsVersion = version.NS
	nsTime    = xtime.NS
)

// ping asks a silent client whether it is there. XEP-0199 §4.1
func (e *engine) ping(b *core.Batch) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.pings++
	p := append([]byte("<iq type='get' id='ping-"), strconv.FormatUint(e.pings, 10)...)
	p = append(p, '\'')
	p = attr(p, "from", e.front.opt.Domain)
	p = append(append(append(p, " to='"...), e.full...), '\'')
	e.send(b, 0, sent{keep: keepMust}, append(p, "><ping xmlns='"+nsPing+"'/></iq>"...))
}

// version says what software this is. XEP-0092 §3
func (e *engine) version(b *core.Batch, q *query) {
	p := []byte("<query xmlns='" + nsVersion + "'><name>pushhub</name>")
	p = textElement(p, "version", e.front.opt.Version)
	e.result(b, q.answer, append(p, "</query>"...))
}

// time tells the time. XEP-0202 §3
func (e *engine) time(b *core.Batch, q *query) {
	p := []byte("<time xmlns='" + nsTime + "'><tzo>+00:00</tzo>")
	p = textElement(p, "utc", e.front.now().UTC().Format(time.RFC3339))
	e.result(b, q.answer, append(p, "</time>"...))
}

// pingWait bounds how long a silent client has to answer a ping.
const pingWait = time.Minute

// Tick implements wire.Handler.
func (e *engine) Tick(now time.Time) error {
	e.mu.Lock()
	bound := e.own != nil
	idle := e.front.opt.IdleTimeout
	last := e.conn.LastInput()
	quiet := idle > 0 && now.Sub(last) > idle
	asked := !e.pingSent.Before(last)
	expired := quiet && asked && now.Sub(e.pingSent) > min(idle, pingWait)
	ping := bound && quiet && !asked
	if ping {
		e.pingSent = now
	}
	e.mu.Unlock()
	var b core.Batch
	e.front.streams.sweep(now)
	if err := e.tickManaged(&b, now); err != nil {
		return err
	}
	defer b.Flush()
	switch {
	case !bound && now.Sub(e.born) > e.front.opt.LoginTimeout:
		e.end(&b, errLoginSlow)
		return errLoginSlow
	case bound && expired:
		e.end(&b, errIdle) // RFC 6120 §4.6.1, §4.9.3.4
		return errIdle
	case ping:
		e.ping(&b)
	}
	return nil
}

package xmppfront

import (
	"sync/atomic"
	"testing"
	"time"

	"pushhub/core"
)

func TestServerTellsHowLongItIsUp(t *testing.T) {
	var later atomic.Int64
	start := time.Now()
	h := lovers(t, Options{now: func() time.Time { return start.Add(time.Duration(later.Load())) }}, core.Options{})
	c := h.login("romeo", "montague", "r")
	later.Store(int64(3*time.Minute + 900*time.Millisecond))
	c.send(`<iq type='get' id='1' to='hub.example'><query xmlns='jabber:iq:last'/></iq>`)
	c.expect(`<iq type='result' id='1' to='romeo@hub.example/r' from='hub.example'><query xmlns='jabber:iq:last' seconds='180'/></iq>`)
}

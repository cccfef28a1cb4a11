package mqttfront

import (
	"errors"
	"sync/atomic"

	"pushhub/core"
)

// Counters are a front's numbers since its start. Sent lags by up to a second.
type Counters struct {
	Connections uint64 // there are now
	Accepted    uint64 // were let in
	Received    uint64 // publications from clients
	Sent        uint64 // publications to clients

	// Publications from clients that went nowhere, by cause.
	DroppedForbidden uint64
	DroppedBadTopic  uint64
	DroppedBusy      uint64 // the journal's queue was full, or a quota
	DroppedOther     uint64

	// Publications to clients that were not queued.
	DroppedFull    uint64 // QoS 0: the client's queue was full
	DroppedRefused uint64 // larger than the client takes, or expired

	// Connections that ended, and requests that were refused, by cause.
	Malformed       uint64 // the client broke the protocol
	KeepaliveLost   uint64
	LoginsRefused   uint64
	TakenOver       uint64
	FiltersRefused  uint64
	OverConnections uint64 // closed at once: MaxConns
	BadHeaders      uint64 // no PROXY header came
	UpgradesRefused uint64 // requests to a WebSocket listener
}

type counters struct {
	accepted, received, sent                                  atomic.Uint64
	paused                                                    atomic.Uint64
	packetsIn, packetsOut, bytesIn, bytesOut                  atomic.Uint64 // bytes: of payloads
	forbidden, badTopic, busy, other                          atomic.Uint64
	full, refusedByClient                                     atomic.Uint64
	malformed, keepalive, rejected, takenOver, refusedFilters atomic.Uint64
	upgrades                                                  atomic.Uint64
}

func (c *counters) drop(err error) {
	switch {
	case errors.Is(err, core.ErrForbidden):
		c.forbidden.Add(1)
	case errors.Is(err, core.ErrBadTopic):
		c.badTopic.Add(1)
	case errors.Is(err, core.ErrBusy), errors.Is(err, core.ErrQuota):
		c.busy.Add(1)
	default:
		c.other.Add(1)
	}
}

// Counters reads the front's counters.
func (f *Front) Counters() Counters {
	c := &f.count
	return Counters{
		Connections: uint64(f.server.Conns()), Accepted: c.accepted.Load(),
		Received: c.received.Load(), Sent: c.sent.Load(),
		DroppedForbidden: c.forbidden.Load(), DroppedBadTopic: c.badTopic.Load(),
		DroppedBusy: c.busy.Load(), DroppedOther: c.other.Load(),
		DroppedFull: c.full.Load(), DroppedRefused: c.refusedByClient.Load(),
		Malformed: c.malformed.Load(), KeepaliveLost: c.keepalive.Load(),
		LoginsRefused: c.rejected.Load(), TakenOver: c.takenOver.Load(),
		FiltersRefused: c.refusedFilters.Load(), OverConnections: f.server.Refused(),
		BadHeaders: f.server.BadHeaders(), UpgradesRefused: c.upgrades.Load(),
	}
}

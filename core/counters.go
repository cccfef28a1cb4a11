package core

import "sync/atomic"

// Counters are what an operator would ask for; each drop is counted with its cause.
type Counters struct {
	Published      atomic.Uint64 // messages that were accepted
	Delivered      atomic.Uint64 // deliveries queued to devices from the log or at QoS 1 and 2
	DroppedSlow    atomic.Uint64 // QoS 0 deliveries to devices whose out-queue was full
	DroppedQueue   atomic.Uint64 // deliveries to clean sessions whose queue was full
	DroppedShared  atomic.Uint64 // messages that no member of a share took: QoS 0, or without a member whose session is durable
	DroppedOffline atomic.Uint64 // records beyond what may wait for a session
	DroppedOld     atomic.Uint64 // records that waited too long for a session that is away
	DroppedBusy    atomic.Uint64 // retained QoS 0 messages that the journal had no room for
	DroppedDevice  atomic.Uint64 // deliveries that the device can never take
	Expired        atomic.Uint64 // deliveries whose message expired first
	Gone           atomic.Uint64 // deliveries whose record retention had removed
	Forbidden      atomic.Uint64 // publishes, subscriptions and deliveries refused by access rules
	OverSubscribed atomic.Uint64 // subscriptions refused because the session has as many as it may
	Corrupt        atomic.Uint64 // frames and records of the journal that could not be read
	Wills          atomic.Uint64 // will messages published

	LoginsDelayed   atomic.Uint64 // logins that had to wait because of wrong passwords before
	LoginsOverTried atomic.Uint64 // logins that were not checked because too many wait already
	SessionsExpired atomic.Uint64 // sessions ended because their device stayed away
}

package core

// A Traffic is what one front has carried since its start, for the $SYS tree. A
// packet is the protocol's unit: an MQTT control packet, an XMPP stanza. The
// numbers may lag by a second.
type Traffic struct {
	Sockets         uint64 // connections that were accepted
	Logins          uint64 // and those of them that were let in
	BytesIn         uint64 // on the sockets; without TLS's own
	BytesOut        uint64
	PacketsIn       uint64
	PacketsOut      uint64
	PublishesIn     uint64 // messages from clients
	PublishesOut    uint64 // messages to clients
	PublishBytesIn  uint64 // their payloads
	PublishBytesOut uint64

	// What was refused, by cause.
	OverConnections uint64 // connections beyond the bound on all of them
	OverAddress     uint64 // connections beyond the bound on one address
	Waited          uint64 // connections that came faster than they are taken
	LoginsRefused   uint64 // a wrong name or password
	Paused          uint64 // times a client published faster than it may
	Malformed       uint64 // connections that ended because the client broke the protocol
	Silent          uint64 // connections that ended because the client was silent
}

// A Meter tells what a front has carried.
type Meter interface{ Traffic() Traffic }

func sum(meters []Meter) (t Traffic) {
	for _, m := range meters {
		n := m.Traffic()
		t.Sockets += n.Sockets
		t.Logins += n.Logins
		t.BytesIn += n.BytesIn
		t.BytesOut += n.BytesOut
		t.PacketsIn += n.PacketsIn
		t.PacketsOut += n.PacketsOut
		t.PublishesIn += n.PublishesIn
		t.PublishesOut += n.PublishesOut
		t.PublishBytesIn += n.PublishBytesIn
		t.PublishBytesOut += n.PublishBytesOut
		t.OverConnections += n.OverConnections
		t.OverAddress += n.OverAddress
		t.Waited += n.Waited
		t.LoginsRefused += n.LoginsRefused
		t.Paused += n.Paused
		t.Malformed += n.Malformed
		t.Silent += n.Silent
	}
	return t
}

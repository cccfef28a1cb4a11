package xmppfront

import "pushhub/core"

// Traffic implements core.Meter. Of what goes out, messages, their copies, events
// and notifications are counted; results and presence are not.
func (f *Front) Traffic() core.Traffic {
	s, moved := f.Stats(), f.server.Bytes()
	in, out := s.MessagesIn+s.PublishesIn, s.MessagesOut+s.CarbonsOut+s.EventsOut+s.Notifications
	return core.Traffic{
		Sockets: f.server.Accepted(), Logins: s.Logins,
		BytesIn: moved.Read, BytesOut: moved.Written,
		PacketsIn: s.MessagesIn + s.IQsIn + s.PresencesIn, PacketsOut: out,
		PublishesIn: in, PublishesOut: out,
		PublishBytesIn: f.counts.payloadIn.Load(), PublishBytesOut: f.counts.payloadOut.Load(),
		OverConnections: s.Refused, OverAddress: f.server.OverAddress(), Waited: f.server.Waited(),
		Paused: f.counts.paused.Load(), LoginsRefused: s.BadLogins, Malformed: s.StreamErrors,
	}
}

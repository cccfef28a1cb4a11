package core

import "strconv"

// sysValues are the topics below $SYS/broker and what they show. The names above
// pushhub/ are mosquitto's, which dashboards read.
var sysValues = []struct {
	topic string
	value func(*sysTree) string
}{
	{"version", func(s *sysTree) string { return "pushhub " + s.opt.Version }},
	{"timestamp", func(s *sysTree) string { return s.opt.Built }},
	{"uptime", func(s *sysTree) string { return strconv.Itoa(int(s.at.Sub(s.begun).Seconds())) + " seconds" }},

	{"clients/total", number(func(s *sysTree) uint64 { return s.census.connected + s.census.away })},
	{"clients/connected", number(func(s *sysTree) uint64 { return s.census.connected })},
	{"clients/active", number(func(s *sysTree) uint64 { return s.census.connected })},
	{"clients/disconnected", number(func(s *sysTree) uint64 { return s.census.away })},
	{"clients/inactive", number(func(s *sysTree) uint64 { return s.census.away })},
	{"clients/maximum", number(func(s *sysTree) uint64 { return s.most })},
	{"clients/expired", number(func(s *sysTree) uint64 { return s.r.Counters.SessionsExpired.Load() })},

	{"messages/received", number(packetsIn)},
	{"messages/sent", number(packetsOut)},
	{"messages/stored", number(func(s *sysTree) uint64 { return s.census.stored })},
	{"publish/messages/received", number(publishesIn)},
	{"publish/messages/sent", number(publishesOut)},
	{"publish/messages/dropped", number(dropped)},
	{"publish/bytes/received", number(func(s *sysTree) uint64 { return s.traffic.PublishBytesIn })},
	{"publish/bytes/sent", number(func(s *sysTree) uint64 { return s.traffic.PublishBytesOut })},
	{"bytes/received", number(bytesIn)},
	{"bytes/sent", number(bytesOut)},

	{"subscriptions/count", number(func(s *sysTree) uint64 { return s.census.subscriptions })},
	{"shared_subscriptions/count", number(func(s *sysTree) uint64 { return s.census.shared })},
	{"retained messages/count", number(func(s *sysTree) uint64 { return s.census.retained })},
	{"store/messages/count", number(func(s *sysTree) uint64 { return s.census.stored })},
	{"store/messages/bytes", number(func(s *sysTree) uint64 { return uint64(s.census.storedBytes) })},
	{"heap/current", number(func(s *sysTree) uint64 { return s.heap })},

	// Deliveries that were not made, by cause; Counters says more of each.
	{"pushhub/dropped/slow", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedSlow.Load() })},
	{"pushhub/dropped/queue", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedQueue.Load() })},
	{"pushhub/dropped/shared", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedShared.Load() })},
	{"pushhub/dropped/offline", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedOffline.Load() })},
	{"pushhub/dropped/old", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedOld.Load() })},
	{"pushhub/dropped/busy", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedBusy.Load() })},
	{"pushhub/dropped/device", number(func(s *sysTree) uint64 { return s.r.Counters.DroppedDevice.Load() })},
	{"pushhub/dropped/expired", number(func(s *sysTree) uint64 { return s.r.Counters.Expired.Load() })},
	{"pushhub/dropped/gone", number(func(s *sysTree) uint64 { return s.r.Counters.Gone.Load() })},
	{"pushhub/corrupt", number(func(s *sysTree) uint64 { return s.r.Counters.Corrupt.Load() })},
	{"pushhub/wills", number(func(s *sysTree) uint64 { return s.r.Counters.Wills.Load() })},

	// What was refused, by cause; Traffic says more of each.
	{"pushhub/refused/forbidden", number(func(s *sysTree) uint64 { return s.r.Counters.Forbidden.Load() })},
	{"pushhub/refused/subscriptions", number(func(s *sysTree) uint64 { return s.r.Counters.OverSubscribed.Load() })},
	{"pushhub/refused/connections", number(func(s *sysTree) uint64 { return s.traffic.OverConnections })},
	{"pushhub/refused/address", number(func(s *sysTree) uint64 { return s.traffic.OverAddress })},
	{"pushhub/refused/logins", number(func(s *sysTree) uint64 { return s.traffic.LoginsRefused })},
	{"pushhub/refused/tries", number(func(s *sysTree) uint64 { return s.r.Counters.LoginsOverTried.Load() })},
	{"pushhub/waited/logins", number(func(s *sysTree) uint64 { return s.r.Counters.LoginsDelayed.Load() })},
	{"pushhub/waited/connections", number(func(s *sysTree) uint64 { return s.traffic.Waited })},
	{"pushhub/waited/publishers", number(func(s *sysTree) uint64 { return s.traffic.Paused })},
	{"pushhub/ended/malformed", number(func(s *sysTree) uint64 { return s.traffic.Malformed })},
	{"pushhub/ended/silent", number(func(s *sysTree) uint64 { return s.traffic.Silent })},
}

// sysLoads are the counters whose rise a minute is shown below $SYS/broker/load.
var sysLoads = []struct {
	topic   string
	counter func(*sysTree) uint64
}{
	{"messages/received", packetsIn},
	{"messages/sent", packetsOut},
	{"publish/received", publishesIn},
	{"publish/sent", publishesOut},
	{"publish/dropped", dropped},
	{"bytes/received", bytesIn},
	{"bytes/sent", bytesOut},
	{"connections", func(s *sysTree) uint64 { return s.traffic.Logins }},
	{"sockets", func(s *sysTree) uint64 { return s.traffic.Sockets }},
}

func packetsIn(s *sysTree) uint64    { return s.traffic.PacketsIn }
func packetsOut(s *sysTree) uint64   { return s.traffic.PacketsOut }
func publishesIn(s *sysTree) uint64  { return s.traffic.PublishesIn }
func publishesOut(s *sysTree) uint64 { return s.traffic.PublishesOut }
func bytesIn(s *sysTree) uint64      { return s.traffic.BytesIn }
func bytesOut(s *sysTree) uint64     { return s.traffic.BytesOut }

// dropped is what was lost because somebody could not keep up.
func dropped(s *sysTree) uint64 {
	c := &s.r.Counters
	return c.DroppedSlow.Load() + c.DroppedQueue.Load() + c.DroppedShared.Load() + c.DroppedOffline.Load() + c.DroppedOld.Load() + c.DroppedBusy.Load()
}

func number(value func(*sysTree) uint64) func(*sysTree) string {
	return func(s *sysTree) string { return strconv.FormatUint(value(s), 10) }
}

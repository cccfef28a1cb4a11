package core_test

import (
	"context"
	"strconv"
	"strings"
	"testing"
	"time"

	"pushhub/bus"
	"pushhub/core"
	"pushhub/core/auth"
)

// A meter reads the same whenever it is asked.
type meter core.Traffic

func (m meter) Traffic() core.Traffic { return core.Traffic(m) }

// runSys runs the tree until the test ends.
func (h *hub) runSys(opt core.SysOptions) {
	h.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.RunSys(ctx, opt) }()
	h.t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			h.t.Errorf("the $SYS tree ended: %v", err)
		}
	})
}

// shows waits until the device was given that value of a topic.
func (c *client) shows(t *testing.T, topic, value string) delivery {
	t.Helper()
	var found delivery
	c.until(t, topic+" "+value, func() bool {
		for _, d := range c.got {
			if d.Topic == topic && d.Payload == value {
				found = d
				return true
			}
		}
		return false
	})
	return found
}

func TestSysTreeShowsWhatThereIs(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	away := h.attach(durable("u", "away"))
	away.subscribe(core.Subscription{Filter: "a/#", QoS: 1}, core.Subscription{Filter: "b", QoS: 0})
	away.leave(true)
	p := h.attach(clean("u", "p"))
	p.publish("a/1", "kept", 1, true)
	p.publish("a/2", "kept too", 1, true)
	p.publish("a/2", "", 1, true)
	h.runSys(core.SysOptions{Every: 5 * time.Millisecond, Version: "v1", Fronts: []core.Meter{
		meter{PacketsIn: 1, BytesOut: 20}, meter{PacketsIn: 10, BytesOut: 200, PublishBytesIn: 3},
	}})
	c := h.attach(clean("u", "c"))
	c.subscribe(core.Subscription{Filter: "$SYS/#", QoS: 1})
	for topic, value := range map[string]string{
		"version": "pushhub v1", "uptime": "0 seconds",
		"clients/total": "3", "clients/connected": "2", "clients/active": "2", "clients/disconnected": "1",
		"clients/inactive": "1", "clients/maximum": "2", "clients/expired": "0",
		"messages/received": "11", "bytes/sent": "220", "publish/bytes/received": "3",
		"subscriptions/count": "3", "shared_subscriptions/count": "0",
		"pushhub/dropped/offline": "0", "load/messages/sent/15min": "0.00", "load/sockets/1min": "0.00",
	} {
		if d := c.shows(t, "$SYS/broker/"+topic, value); d.QoS != 0 {
			t.Errorf("%s came at QoS %d", topic, d.QoS)
		}
	}
	c.until(t, "a count of what is retained, itself among it", func() bool {
		for _, d := range c.got {
			if n, _ := strconv.Atoi(d.Payload); d.Topic == "$SYS/broker/retained messages/count" && n > 60 {
				return true
			}
		}
		return false
	})
}

func TestSysTreeSendsOnlyWhatChanged(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	h.runSys(core.SysOptions{Every: time.Millisecond, Version: "v1"})
	c := h.attach(clean("u", "c"))
	c.subscribe(core.Subscription{Filter: "$SYS/broker/clients/#"}, core.Subscription{Filter: "$SYS/broker/uptime"})
	c.shows(t, "$SYS/broker/uptime", "1 seconds")
	c.set(func(d *device) {
		times := map[string]int{}
		for _, x := range d.got {
			times[x.Topic+" "+x.Payload]++
		}
		for what, n := range times {
			if n > 2 { // twice, for who subscribes while it changes
				t.Errorf("%s was sent %d times", what, n)
			}
		}
	})
}

func TestHiddenSysTreeIsHidden(t *testing.T) {
	acl := auth.NewACL([]auth.Rule{{Allow: true, Account: "admin", Action: auth.ActionSubscribe, Filter: "$SYS/#"}})
	acl.HideSys = true
	h := newHubWith(t, bus.NewMemory(), core.Options{ACL: acl})
	h.runSys(core.SysOptions{Every: time.Millisecond, Version: "v1"})
	c, admin := h.attach(clean("u", "c")), h.attach(clean("admin", "c"))
	done := make(chan []error, 1)
	var b core.Batch
	c.Subscribe(&b, []core.Subscription{{Filter: "$SYS/#"}, {Filter: "#"}, {Filter: "+/broker/#"}}, func(_ *core.Batch, errs []error) { done <- errs })
	b.Flush()
	if errs := <-done; errs[0] == nil {
		t.Error("the subscription was granted")
	}
	admin.subscribe(core.Subscription{Filter: "$SYS/#"}, core.Subscription{Filter: "#"})
	admin.shows(t, "$SYS/broker/uptime", "1 seconds")
	c.set(func(d *device) {
		if len(d.got) > 0 {
			t.Errorf("it was sent %s", d.list())
		}
	})
}

func TestSysTreeIsInNoStore(t *testing.T) {
	store := bus.NewMemory()
	h := newHub(t, store)
	h.runSys(core.SysOptions{Every: time.Millisecond, Version: "v1"})
	d := h.attach(durable("u", "d"))
	d.subscribe(core.Subscription{Filter: "$SYS/broker/uptime", QoS: 2})
	d.shows(t, "$SYS/broker/uptime", "1 seconds")
	d.leave(true)
	h.stop()

	h = newHub(t, store)
	d = h.attach(durable("u", "d"))
	d.publish("last", "x", 1, false)
	if err := d.Retained("$SYS/#", func(m *core.Message) bool {
		t.Errorf("%s is still there", m.Topic)
		return true
	}); err != nil {
		t.Error(err)
	}
	d.set(func(dev *device) {
		if strings.Contains(dev.list(), "$SYS") {
			t.Errorf("the session was owed %s", dev.list())
		}
	})
}

func TestSysTreeCountsSharedSubscriptions(t *testing.T) {
	h := newHub(t, bus.NewMemory())
	a, c := h.attach(durable("u", "a")), h.attach(clean("u", "c"))
	a.subscribe(shared(1), core.Subscription{Filter: "$share/h/t", QoS: 0}, core.Subscription{Filter: "t", QoS: 1})
	c.subscribe(shared(1), core.Subscription{Filter: "$SYS/broker/+/count"})
	h.runSys(core.SysOptions{Every: time.Millisecond, Version: "v1"})
	c.shows(t, "$SYS/broker/shared_subscriptions/count", "3")
	c.shows(t, "$SYS/broker/subscriptions/count", "5")
}

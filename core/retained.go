package core

import (
	"strings"
	"sync"

	"pushhub/core/journal"
	"pushhub/core/topic"
)

// retained holds the last retained message of each topic.
type retained struct {
	mu     sync.RWMutex // guards what follows
	values *topic.Store[*retainedValue]
	bytes  int64 // of all payloads
}

// set puts a value on a topic, or (nil) takes it away. The caller holds mu, or
// nobody else is there yet.
func (t *retained) set(name string, v *retainedValue) {
	if old, ok := t.values.Get(name); ok {
		t.bytes -= int64(len(old.m.Payload))
	}
	if v == nil {
		t.values.Delete(name)
		return
	}
	t.bytes += int64(len(v.m.Payload))
	t.values.Set(name, v)
}

// retainedValue is one retained message and where it stands in the log; a
// position of 0 is the hub's own state (presence, $SYS), which no store holds.
type retainedValue struct {
	m   *Message
	pos journal.Position
}

// retain sets what a topic retains from a record of the log; an empty payload clears it [MQTT-3.3.1-6].
func (r *Router) retain(pos journal.Position, m *Message) {
	r.retained.mu.Lock()
	old, ok := r.retained.values.Get(m.Topic)
	if ok && old.pos >= pos {
		r.retained.mu.Unlock()
		return
	}
	if len(m.Payload) == 0 {
		r.retained.set(m.Topic, nil)
	} else {
		r.retained.set(m.Topic, &retainedValue{m.clone(), pos})
	}
	r.retained.mu.Unlock()
	d := &r.dirty
	d.Lock()
	d.retained[m.Topic] = true
	d.Unlock()
}

// retainOwn sets or clears (m nil) the hub's own state on a topic.
func (r *Router) retainOwn(name string, m *Message) {
	r.retained.mu.Lock()
	defer r.retained.mu.Unlock()
	if m == nil {
		r.retained.set(name, nil)
		return
	}
	r.retained.set(name, &retainedValue{m: m})
}

// Retained calls yield for each retained message that a filter matches and the
// device may read, until yield returns false. Errors: ErrBadTopic, ErrForbidden.
func (a *Attachment) Retained(filter string, yield func(*Message) bool) error {
	if err := a.maySubscribe(filter); err != nil {
		return err
	}
	for _, m := range a.r.retainedFor(a.addr.Account, filter) {
		if !yield(m) {
			break
		}
	}
	return nil
}

// retainedFor collects what an account may read; expired messages are left out.
func (r *Router) retainedFor(account, filter string) []*Message {
	var found []*Message
	now := r.now()
	r.retained.mu.RLock()
	r.retained.values.Match(filter, func(_ string, v *retainedValue) bool {
		if v.m.Expires == 0 || v.m.Expires > now {
			found = append(found, v.m)
		}
		return true
	})
	r.retained.mu.RUnlock()
	allowed := found[:0]
	for _, m := range found {
		if r.mayReceive(account, m.Topic) {
			allowed = append(allowed, m)
		}
	}
	return allowed
}

// sendRetained delivers what is retained to a new subscription [MQTT-3.3.1-9].
func (a *Attachment) sendRetained(b *Batch, sub Subscription) {
	var ids []uint32
	if sub.ID != 0 {
		ids = []uint32{sub.ID}
	}
	for _, m := range a.r.retainedFor(a.addr.Account, sub.Filter) {
		if sub.NoLocal && m.From == a.addr && !strings.HasPrefix(m.Topic, "$") {
			continue
		}
		if q := min(m.QoS, sub.QoS); q > 0 {
			a.session.deliverHeld(b, m, q, true, ids)
		} else {
			a.session.deliverQoS0(b, m, true, ids)
		}
	}
}

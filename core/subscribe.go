package core

import (
	"fmt"
	"slices"
	"strings"

	"pushhub/core/journal"
	"pushhub/core/session"
	"pushhub/core/topic"
)

// A Subscription is what a device asks for, MQTT 5 §3.8.3.1.
type Subscription struct {
	Filter            string
	QoS               QoS
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    uint8  // 0: send retained messages, 1: if the subscription is new, 2: do not
	ID                uint32 // subscription identifier; 0: none
}

func (s Subscription) options() session.Options {
	return session.Options{QoS: min(s.QoS, 2), NoLocal: s.NoLocal, RetainAsPublished: s.RetainAsPublished, ID: s.ID}
}

// Subscribe adds subscriptions. done gets a result for each: nil (granted at the
// QoS asked for), ErrBadTopic, ErrForbidden, ErrQuota, or why it could not be stored. The
// retained messages that match follow when done returns.
func (a *Attachment) Subscribe(b *Batch, subs []Subscription, done func(b *Batch, results []error)) {
	results := make([]error, len(subs))
	for i, sub := range subs {
		results[i] = a.maySubscribe(sub.Filter)
		if sub.NoLocal && topic.IsShared(sub.Filter) && results[i] == nil {
			results[i] = fmt.Errorf("%w: no local on a shared subscription", ErrBadTopic) // [MQTT-3.8.3-4]
		}
	}
	fresh, held := a.session.reserve(subs, results)
	finish := func(b *Batch) {
		a.session.free(held)
		done(b, results)
		for i, sub := range subs {
			if topic.IsShared(sub.Filter) {
				continue // no retained messages: MQTT 5 §4.8.2
			}
			if results[i] == nil && sub.RetainHandling < 2 && (sub.RetainHandling == 0 || fresh[i]) {
				a.sendRetained(b, sub)
			}
		}
	}
	if a.session.durable {
		a.logEach(b, len(subs), results, func(i int) *journal.Record {
			return &journal.Record{Kind: journal.KindSub, Body: session.AppendSub(nil, subs[i].Filter, subs[i].options())}
		}, finish)
		return
	}
	for i, sub := range subs {
		if results[i] == nil {
			a.session.subscribeClean(sub)
		}
	}
	// What was accepted to be retained before this must be found: wait for it.
	a.r.barrier(b, func(b *Batch, err error) {
		for i := range results {
			if err != nil && results[i] == nil {
				results[i] = err
			}
		}
		finish(b)
	})
}

func (a *Attachment) maySubscribe(filter string) error {
	if err := topic.ValidateSubscription(filter); err != nil {
		return fmt.Errorf("%w: %w", ErrBadTopic, err)
	}
	if err := checkSize(a.r, filter); err != nil {
		return err
	}
	filter, _, _ = topic.SplitShare(filter)
	if err := checkSize(a.r, filter); err != nil { // what is shared has no more room than what is not
		return err
	}
	if err := a.r.acl.CanSubscribe(a.addr.Account, filter); err != nil {
		a.r.Counters.Forbidden.Add(1)
		return fmt.Errorf("%w: %w", ErrForbidden, err)
	}
	return nil
}

// barrier calls done when all that was queued for the journal before has been applied.
func (r *Router) barrier(b *Batch, done func(*Batch, error)) {
	err := r.opt.Journal.Append(nil, func(_ journal.Position, err error) { done(&r.tail.batch, err) })
	if err != nil {
		done(b, err)
	}
}

// logEach appends a record for each index without an error, and calls finish
// once all are applied; what could not be stored has its error in results then.
func (a *Attachment) logEach(b *Batch, n int, results []error, record func(i int) *journal.Record, finish func(*Batch)) {
	last := -1
	for i := range n {
		if results[i] == nil {
			last = i
		}
	}
	if last < 0 {
		finish(b)
		return
	}
	for i := range n {
		if results[i] != nil {
			continue
		}
		rec := record(i)
		rec.Epoch = a.epoch
		err := a.r.append(rec, a.session.addr, nil, func(_ journal.Position, err error) {
			results[i] = err
			if i == last {
				finish(&a.r.tail.batch)
			}
		})
		if err == nil {
			continue
		}
		results[i] = err
		if i == last {
			// Nothing will be called for it; what is before it may be on its way still.
			a.r.barrier(b, func(b *Batch, _ error) { finish(b) })
		}
	}
}

// has reports whether the session subscribes to a filter.
func (s *Session) has(filter string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasLocked(filter)
}

func (s *Session) hasLocked(filter string) bool {
	return s.subs[filter] != nil || s.state.Filter(filter) != nil
}

// subscribeClean adds a subscription of a clean session, or replaces it [MQTT-3.8.4-3].
func (s *Session) subscribeClean(sub Subscription) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setOnline(sub.Filter, sub.options())
}

// setOnline puts a subscription of an attached session in the online index. The caller holds mu.
func (s *Session) setOnline(filter string, opt session.Options) {
	if s.subs == nil {
		s.subs = map[string]*subscriber{}
	}
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	old, sub := s.subs[filter], newSubscriber(s, opt)
	if old != nil && old.share == nil {
		r.online.Remove(filter, old)
	}
	r.enter(filter, sub)
	if old != nil && old.share != nil {
		r.exit(filter, old) // not before: a share ends with its last member
	}
	s.subs[filter] = sub
	r.changed()
}

// unsetOnline takes it out again; false where there was none. The caller holds mu.
func (s *Session) unsetOnline(filter string) bool {
	sub := s.subs[filter]
	if sub == nil {
		return false
	}
	delete(s.subs, filter)
	r := s.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.exit(filter, sub)
	r.changed()
	return true
}

// Unsubscribe removes subscriptions; ErrNotFound where there was none.
func (a *Attachment) Unsubscribe(b *Batch, filters []string, done func(b *Batch, results []error)) {
	results := make([]error, len(filters))
	for i, f := range filters {
		if !a.session.has(f) {
			results[i] = fmt.Errorf("%w: a subscription to %q", ErrNotFound, f)
		}
	}
	if a.session.durable {
		a.logEach(b, len(filters), results, func(i int) *journal.Record {
			return &journal.Record{Kind: journal.KindUnsub, Body: []byte(filters[i])}
		}, func(b *Batch) { done(b, results) })
		return
	}
	a.session.mu.Lock()
	for i, f := range filters {
		if results[i] == nil {
			a.session.unsetOnline(f)
		}
	}
	a.session.mu.Unlock()
	done(b, results)
}

// Subscriptions lists the session's subscriptions by filter.
func (a *Attachment) Subscriptions() []Subscription {
	s := a.session
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []Subscription
	for f, sub := range s.subs {
		list = append(list, Subscription{
			Filter: f, QoS: sub.QoS, NoLocal: sub.NoLocal, RetainAsPublished: sub.RetainAsPublished, ID: sub.ID,
		})
	}
	slices.SortFunc(list, func(a, b Subscription) int { return strings.Compare(a.Filter, b.Filter) })
	return list
}

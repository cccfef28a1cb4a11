package core

import (
	"slices"

	"pushhub/core/topic"
)

// A census is how much of what there is.
type census struct {
	connected, away uint64 // devices' sessions: with a device, without one
	subscriptions   uint64
	shared          uint64 // those of them that are shared
	retained        uint64
	stored          uint64 // retained messages, and records that wait, counted once a filter
	storedBytes     int64
}

// count visits every session and every filter of the log. It runs once in a while.
func (r *Router) count() (c census) {
	for _, s := range r.allSessions() {
		switch {
		case s.addr.Resource == "": // the account's own
		case len(s.attached()) > 0:
			c.connected++
		case s.durable:
			c.away++
		}
		all, shared := s.subscriptions()
		c.subscriptions += all
		c.shared += shared
	}
	r.retained.mu.RLock()
	c.retained, c.storedBytes = uint64(r.retained.values.Len()), r.retained.bytes
	r.retained.mu.RUnlock()
	c.stored = c.retained
	r.mu.RLock()
	filters := make([]*durableFilter, 0, len(r.filters))
	for _, df := range r.filters {
		filters = append(filters, df)
	}
	r.mu.RUnlock()
	for some := range slices.Chunk(filters, 1000) { // who files a message does not wait for all of them
		r.posted.RLock()
		for _, df := range some {
			n, bytes := df.postings.From(0)
			c.stored += uint64(n)
			c.storedBytes += bytes
		}
		r.posted.RUnlock()
	}
	return c
}

func (r *Router) allSessions() []*Session {
	r.mu.RLock()
	defer r.mu.RUnlock()
	list := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		list = append(list, s)
	}
	return list
}

// subscriptions is how many filters clients have asked for on the session, and how
// many of them are shared: the inbox of an account is not one of them.
func (s *Session) subscriptions() (all, shared uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	count := func(filter string) {
		all++
		if topic.IsShared(filter) {
			shared++
		}
	}
	if !s.durable {
		for filter := range s.subs {
			count(filter)
		}
		return all, shared
	}
	for _, f := range s.state.Filters() {
		count(f.Name)
	}
	if s.addr.Resource == "" && s.state.Filter(InboxFilter(s.addr.Account)) != nil {
		all--
	}
	return all, shared
}

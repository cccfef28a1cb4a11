package core

import "pushhub/core/journal"

// durableFilter is one filter that the log serves, whatever the number of its sessions.
type durableFilter struct {
	text     string
	share    *share                // set where text is a shared subscription
	postings journal.Postings      // guarded by Router.posted
	refs     int                   // sessions that have it; guarded by Router.mu
	online   map[*Session]struct{} // those of them that are attached; guarded by Router.mu
}

// matches is the filter, without the name of a share.
func (df *durableFilter) matches() string {
	if df.share != nil {
		return df.share.filter
	}
	return df.text
}

// goOnline notes that a session of the filter is attached. The caller holds Router.mu.
func (df *durableFilter) goOnline(s *Session) {
	if df.online == nil {
		df.online = map[*Session]struct{}{}
	}
	df.online[s] = struct{}{}
}

// goOffline undoes goOnline. The caller holds Router.mu.
func (df *durableFilter) goOffline(s *Session) {
	delete(df.online, s)
	if len(df.online) == 0 {
		df.online = nil // most filters have nobody attached most of the time
	}
}

// nothing are the postings of a QoS 0 subscription, which the log does not serve.
var nothing journal.Postings

// forSession are the postings for a session of the filter: those of a share are
// taken through the share.
func (df *durableFilter) forSession() *journal.Postings {
	if df.share != nil {
		return &nothing
	}
	return &df.postings
}

// refer adds a session to a filter that the log serves; a new share begins behind since.
func (r *Router) refer(s *Session, filter string, since journal.Position) *durableFilter {
	r.mu.Lock()
	defer r.mu.Unlock()
	df := r.filters[filter]
	if df == nil {
		df = &durableFilter{text: filter, share: r.share(filter)}
		r.filters[filter] = df
		r.durable.Add(df.matches(), df)
		r.changed()
	}
	if df.share != nil {
		df.share.own(s, df, since, r.tail.live)
	}
	df.refs++
	return df
}

func (r *Router) unrefer(s *Session, filter string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	df := r.filters[filter]
	if df == nil {
		return
	}
	df.goOffline(s)
	if df.share != nil {
		r.disown(df.share, s)
		defer r.unshare(df.share)
	}
	if df.refs--; df.refs > 0 {
		return
	}
	delete(r.filters, filter)
	r.durable.Remove(df.matches(), df)
	r.changed()
}

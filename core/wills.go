package core

import (
	"encoding/binary"
	"errors"
	"strings"
	"sync"
	"time"

	"pushhub/core/journal"
)

// wills are the wills of connections, as the journal knows them: a WILL record
// sets one, the record of its publishing (or an empty WILL) clears it. So a will
// is published once, whatever happens to the hub in between.
type wills struct {
	mu sync.Mutex // guards m
	m  map[Address]*will
}

type will struct {
	m     *Message
	delay time.Duration
	lives int64       // how long the message is of use once it is published, milliseconds; 0: for ever
	timer *time.Timer // runs while the will waits for its delay
	fired bool        // on its way to the journal
}

// logWill makes the will of a connection known to the journal, before its claim.
// The will of an earlier one that never got its session is withdrawn by that.
func (r *Router) logWill(att *Attachment, req Attach) error {
	if req.Will == nil && !att.inherits {
		return nil
	}
	if req.Will == nil {
		return r.append(&journal.Record{Kind: journal.KindWill}, att.addr, nil, func(journal.Position, error) {})
	}
	if strings.HasPrefix(req.Will.Topic, "$") {
		req.Will.Retain = false // the hub's own topics keep nothing that a client sends
	}
	// The end of the session ends the wait.
	body := appendWill(nil, &will{m: req.Will, delay: min(req.WillDelay, req.Expiry), lives: req.Will.Expires})
	return r.append(&journal.Record{Kind: journal.KindWill, Body: body}, att.addr, nil, func(journal.Position, error) {})
}

// encodedWills are all wills as a checkpoint holds them.
func (r *Router) encodedWills() []Row {
	r.wills.mu.Lock()
	defer r.wills.mu.Unlock()
	rows := make([]Row, 0, len(r.wills.m))
	for addr, w := range r.wills.m {
		rows = append(rows, Row{sessionKey(addr), appendWill(nil, w)})
	}
	return rows
}

// appendWill encodes a will; in its message, the expiry stands for how long it lives.
func appendWill(dst []byte, w *will) []byte {
	m := w.m.clone()
	m.Expires = w.lives
	return appendMessage(binary.AppendUvarint(dst, uint64(w.delay.Milliseconds())), m)
}

// applyWill sets or clears a will.
func (r *Router) applyWill(pos journal.Position, rec *journal.Record) error {
	addr := r.recordAddress(rec)
	if len(rec.Body) == 0 {
		r.forgetWill(addr)
		return nil
	}
	w, err := decodeWill(rec.Body, addr)
	if err != nil {
		return err
	}
	r.forgetWill(addr)
	r.wills.mu.Lock()
	defer r.wills.mu.Unlock()
	r.wills.m[addr] = w
	return nil
}

func decodeWill(b []byte, addr Address) (*will, error) {
	d := journal.Decoder{Rest: b}
	delay := time.Duration(d.Uvarint()) * time.Millisecond
	if d.Err != nil {
		return nil, d.Err
	}
	name, _, _, err := messageTopic(d.Rest)
	if err != nil {
		return nil, err
	}
	m, err := decodeMessage(d.Rest, string(name), addr)
	if err != nil {
		return nil, err
	}
	return &will{m: m.clone(), delay: delay, lives: m.Expires}, nil
}

// forgetWill drops a will that is published, withdrawn or replaced.
func (r *Router) forgetWill(addr Address) {
	r.wills.mu.Lock()
	defer r.wills.mu.Unlock()
	if w := r.wills.m[addr]; w != nil {
		if w.timer != nil {
			w.timer.Stop()
		}
		delete(r.wills.m, addr)
	}
}

// connectionEnded publishes the will of a connection, after its delay, or
// withdraws it when the device said goodbye.
func (r *Router) connectionEnded(addr Address, graceful bool) {
	r.wills.mu.Lock()
	w := r.wills.m[addr]
	if graceful {
		r.withdrawWill(addr, w)
		r.wills.mu.Unlock()
		return
	}
	if w != nil && w.delay > 0 {
		w.timer = time.AfterFunc(w.delay, func() { r.fire(addr, w) })
	}
	r.wills.mu.Unlock()
	if w != nil && w.delay <= 0 {
		r.fire(addr, w)
	}
}

// withdrawWill has the journal forget the will of an address, whether it has been
// applied (w) or is on its way. What the journal refuses is tried again: a hub that
// starts publishes what it finds. The caller holds wills.mu.
func (r *Router) withdrawWill(addr Address, w *will) {
	err := r.append(&journal.Record{Kind: journal.KindWill}, addr, nil, func(journal.Position, error) {})
	switch {
	case w == nil:
		return
	case w.timer != nil:
		w.timer.Stop()
	}
	if err == nil || errors.Is(err, ErrStopped) {
		delete(r.wills.m, addr)
		return
	}
	w.fired = true // it never will be
	w.timer = time.AfterFunc(time.Second, func() {
		r.wills.mu.Lock()
		defer r.wills.mu.Unlock()
		if r.wills.m[addr] == w {
			r.withdrawWill(addr, w)
		}
	})
}

// fire publishes a will: the record that stores the message is the evidence that
// it was published. It is delivered when that record is applied. The record is
// queued under the lock, so that no later will of the address is before it.
func (r *Router) fire(addr Address, w *will) {
	r.wills.mu.Lock()
	if r.wills.m[addr] != w || w.fired {
		r.wills.mu.Unlock()
		return
	}
	w.fired = true
	w.m.Time = r.now()
	if w.lives > 0 {
		w.m.Expires = w.m.Time + w.lives // MQTT 5 §3.1.3.2.4
	}
	err := r.append(&journal.Record{Kind: journal.KindFired}, addr, w.m, func(_ journal.Position, err error) {
		if err == nil {
			r.Counters.Wills.Add(1)
			return
		}
		r.wills.mu.Lock()
		r.fireLater(addr, w, err)
		r.wills.mu.Unlock()
	})
	if err != nil {
		r.fireLater(addr, w, err)
	}
	r.wills.mu.Unlock()
	if err != nil {
		r.log.Error("publishing a will; it is tried again", "session", addr.String(), "err", err)
	}
}

// fireLater tries again what the journal refused. The caller holds wills.mu.
func (r *Router) fireLater(addr Address, w *will, err error) {
	if errors.Is(err, ErrStopped) {
		return // the next start does it
	}
	w.fired = false
	w.timer = time.AfterFunc(time.Second, func() { r.fire(addr, w) })
}

// endWait is called when a device comes back before the delay of its will is
// over: the will is withdrawn when the session goes on [MQTT-3.1.3-9], published
// when it begins anew.
func (r *Router) endWait(addr Address, goesOn bool) {
	r.wills.mu.Lock()
	w := r.wills.m[addr]
	r.wills.mu.Unlock()
	switch {
	case w == nil:
	case goesOn:
		r.connectionEnded(addr, true)
	default:
		r.fire(addr, w)
	}
}

// fireOrphans publishes the wills of connections that ended with the hub.
func (r *Router) fireOrphans() {
	r.wills.mu.Lock()
	orphans := make([]Address, 0, len(r.wills.m))
	for addr := range r.wills.m {
		orphans = append(orphans, addr)
	}
	r.wills.mu.Unlock()
	for _, addr := range orphans {
		r.connectionEnded(addr, false)
	}
}

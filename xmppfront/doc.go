// Package xmppfront speaks XMPP to clients: streams and their negotiation
// (RFC 6120), messages, presence and rosters (RFC 6121), and the extensions,
// one file each. It translates between stanzas and the hub's messages.
//
// An engine is one connection: bytes in by Input, bytes out by the wire.Conn's
// out-queue, and nothing else; it starts no goroutine and never blocks. What it
// asks of the router comes back through a callback, which leaves a continuation
// for Input to run, so that all protocol state belongs to Input alone.
//
// The package must never decide who may do what, keep a message that the core
// can keep, or build a tree of a stanza.
//
// Lock order: router, engine.mu, then wire.Conn, managed.mu or streams.mu. The router is never called, and
// nothing logged, with engine.mu held.
package xmppfront

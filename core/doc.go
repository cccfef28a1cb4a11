// Package core is the hub itself: what a message, a session and an account are;
// who may publish and see what; who receives a message, and what is owed to whom
// until it is acknowledged. It serves every protocol alike: fronts attach Devices,
// package bus lends it a Journal and Rows. It must never learn which protocol it
// serves, nor touch a socket.
//
// # How a message travels
//
// Attachment.Publish looks up the Route of its topic. At QoS 0, and at QoS 1 for
// clean sessions, the message is given to the devices at once. What a durable
// session is owed, what is retained and what is QoS 2, unless no session that has
// to do with it outlives its connection, is appended to the journal;
// its publisher is acknowledged (Device.Stored) when the record is stored and
// applied. Router.apply, on the one goroutine that follows the journal, files the
// record under the filters that match; sessions then pump: from their cursor,
// through their window, to their device. From a shared subscription, whose members
// have one cursor in common, each takes what it has room for.
//
// Durable state changes in apply alone, while the hub runs and when it starts. The
// exception is what devices acknowledge: that is ahead of the journal, which
// learns of it at QoS 2 before it matters, and otherwise lazily.
//
// # Locks
//
// claims.mu comes first, then Session.mu, then Router.mu, then share.mu. Nobody
// holds two sessions' mu: members take from a share, each under its own. All others
// are leaves: Router.posted, copies.mu, shares.mu, accounts.mu, documents.mu, retained.mu, people, frames.mu, dirty, replay, and the locks
// inside Devices and the Journal. accounts.change is held around IO, and nothing
// but leaves and Router.mu is taken under it.
package core

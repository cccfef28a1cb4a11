// Package mqttfront owns MQTT 3.1, 3.1.1 and 5.0: it turns the bytes of a
// connection into calls of the core, and the core's deliveries into bytes.
//
// An engine (engine.go) serves one connection. It has no goroutine, no socket
// and no blocking call: the transport (core/wire) gives it what has arrived, and
// it appends what is to be written. PUBLISH and its acknowledgements are parsed in
// place and written straight into the out-queue; they allocate nothing. The rare
// packets are written by mochi's codec, and read by decoders of our own: the
// library accepts what the specification forbids and refuses what it allows
// (docs/protocols.md lists the cases).
//
// It must never keep bytes of the input beyond a call, hold state that outlives
// the connection (sessions, subscriptions and retained messages are the core's),
// or call the core from one of the core's callbacks.
//
// Lock order: engine.mu, then the transport's queue lock, which is a leaf.
package mqttfront

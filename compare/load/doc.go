// Package load drives MQTT brokers with raw 3.1.1 frames and reports what a
// delivery costs each of them in CPU time.
//
// It owns the plan (scenarios, targets), the generator (one event loop for all
// connections of a run), the reading of a server's CPU time, and the report.
// One loop on one thread keeps the generator's own cost a message far below
// that of any broker, and makes that cost measurable by itself.
//
// It must never depend on a particular broker, import a client library, start
// a target it was not told to start, or leave one running.
package load

// Package bus owns the store beneath the hub: the journal's log and the small
// buckets of rows, on NATS JetStream (embedded or external) or in memory. It is
// the only package that knows NATS. It must never look inside a record or a row.
//
// A node writes through one lane: a goroutine that packs whatever was queued
// while its last frame was under way into the next frame, so that one write to
// disk serves many records. It reads the log back through one tail, which hands
// each frame to the hub and only then releases the acknowledgements of the
// records in it.
package bus

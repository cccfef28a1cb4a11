// Package faults breaks a running hub again and again, under load, and then
// counts what became of every message: what was acknowledged to its sender and
// never reached somebody entitled to it, what came twice at QoS 2, and what came
// in another order than it was sent in.
//
// It owns the devices that send and receive (their state survives every
// connection, as MQTT and XEP-0198 ask of them), the hub's process and disk, the
// faults, and the books. It must never import the hub's own packages: its codecs
// are its own, so that a mistake of the hub's is not made twice.
//
// What happens is decided by a seed, which is printed. What the machine makes of
// it in time is not.
package faults

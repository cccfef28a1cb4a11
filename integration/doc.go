// Package integration runs the real pushhub binary against clients that other
// people wrote: mosquitto_pub and mosquitto_sub, libmosquitto, Paho for Python,
// for Go and for C, MQTT.js, slixmpp, @xmpp/client and go-sendxmpp, and against
// raw connections that misbehave. It owns what is promised to a user of the hub,
// as tests; it must never import the hub's own packages.
//
// A client that is not installed skips its tests, unless PUSHHUB_REQUIRE_CLIENTS
// is set. Nothing here sleeps: every wait is for a condition.
package integration

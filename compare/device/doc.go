// Package device is the other end of the wire: small real clients that speak
// MQTT, XMPP and the androidpn dialect of XMPP to a hub, as devices do, and
// count every byte that crosses the wire.
//
// It owns its connections and the goroutines that read them. It must never know
// anything of a hub but its wire, reconnect or retry by itself, or hide what
// the server answered: a refusal is returned in the server's own words.
//
// What arrives is put into a bounded channel. When that is full the device
// stops reading, as a phone with a busy application would, until somebody
// receives from it or the device is closed; answers wait meanwhile too.
package device

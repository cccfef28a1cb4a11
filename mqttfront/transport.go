package mqttfront

import (
	"errors"
	"net"

	"pushhub/core/wire"
	"pushhub/core/wire/websocket"
)

// ServeOpening accepts connections that begin as told, until Shutdown.
func (f *Front) ServeOpening(ln net.Listener, how wire.Opening) error {
	return f.server.ServeOpening(ln, how)
}

// WebSocket is how MQTT clients upgrade, for a wire.Opening.
func WebSocket(path string, origins []string) *websocket.Options {
	// [MQTT-6.0.0-3]; Paho for JavaScript offers mqttv3.1 for MQTT 3.1.
	return &websocket.Options{Path: path, Protocols: []string{"mqtt", "mqttv3.1"}, Origins: origins}
}

// refusedUpgrade tells and logs what an operator would want to explain: pages that
// may not connect, clients that are set up wrong.
func (f *Front) refusedUpgrade(e *engine, err error) bool {
	var refusal *websocket.Refusal
	if !errors.As(err, &refusal) {
		return false
	}
	f.count.upgrades.Add(1)
	f.opt.Log.Info("WebSocket refused", "remote", e.conn.RemoteAddr().String(), "status", refusal.Status, "why", refusal.Why)
	return true
}

// certified finds the account of a client that names none and has shown a
// certificate. done is false when there is nothing to go by.
func (e *engine) certified() (done bool, err error) {
	if e.greeting.hasUser || !e.front.opt.CertUser {
		return false, nil
	}
	name := e.commonName()
	if name == "" {
		return false, nil
	}
	if e.account, err = e.front.hub.Vouched(name); err == nil {
		return true, nil
	}
	e.front.count.rejected.Add(1)
	e.front.opt.Log.Info("login refused", "client", e.clientID, "remote", e.conn.RemoteAddr().String(), "certificate", name, "err", err)
	return true, err
}

// commonName is that of the client's certificate; "": there is none that was verified.
func (e *engine) commonName() string {
	state := e.conn.TLS()
	if state == nil || len(state.VerifiedChains) == 0 {
		return ""
	}
	return state.PeerCertificates[0].Subject.CommonName
}

package mqttfront

import (
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/auth"
)

var (
	// errProof is why a connection ends whose exchange was refused for another reason
	// than the proof: it was not SCRAM, or for somebody else's account.
	errProof = packets.Code{Code: packets.ErrNotAuthorized.Code, Reason: "not authorized: the authentication data is not acceptable"}
	// errAccount is why a connection ends that would be another account's from now on.
	errAccount = packets.Code{Code: packets.ErrNotAuthorized.Code, Reason: "not authorized: the account cannot change on a live connection"}
	// errAuthSlow is why a connection ends whose exchange came to no end.
	errAuthSlow = packets.Code{Code: packets.ErrNotAuthorized.Code, Reason: "not authorized: the authentication took too long"}
	// errAuthTurn is why a connection ends on which AUTH, or another packet than AUTH, is out of turn.
	errAuthTurn = packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol violation: out of turn in authentication"}
	// errAuthMethod is why a connection ends that changes its method.
	errAuthMethod = packets.Code{Code: packets.ErrProtocolViolation.Code, Reason: "protocol violation: another authentication method than in CONNECT"}
)

// decodeAuth reads the body of an AUTH; data is nil when it has none. Its strings
// and bytes are copies.
func decodeAuth(body []byte) (code byte, method string, data []byte, err error) {
	switch len(body) {
	case 0:
		return packets.CodeSuccess.Code, "", nil, nil // §3.15.2.1
	case 1:
		return 0, "", nil, packets.ErrMalformedPacket
	}
	r, rest, err := takeProps(body[1:], authProps)
	if err != nil {
		return 0, "", nil, err
	}
	if len(rest) > 0 {
		return 0, "", nil, packets.ErrMalformedPacket
	}
	var p property
	for {
		more, err := r.next(&p)
		if !more {
			return body[0], method, data, err
		}
		switch p.id {
		case packets.PropAuthenticationMethod:
			method = string(p.data)
		case packets.PropAuthenticationData:
			data = append([]byte{}, p.data...)
		}
	}
}

// newExchange begins an enhanced authentication, MQTT 5 §4.12. The methods are the
// SASL mechanisms of those names.
func (e *engine) newExchange(method string) error {
	key := e.front.opt.ScramKey
	if len(key) == 0 || (method != auth.SHA1 && method != auth.SHA256) {
		return packets.ErrBadAuthenticationMethod // [MQTT-4.12.0-1]
	}
	lookup := func(user string) (auth.Verifier, bool) { return e.front.hub.Verifier(user, method) }
	e.scram = auth.NewSCRAM(method, lookup, rand.Reader, key)
	e.authBy.Store(time.Now().Add(e.front.opt.ConnectTimeout).UnixNano())
	return nil
}

// authenticate begins the exchange that CONNECT asks for.
func (e *engine) authenticate(b *core.Batch) error {
	g := e.greeting
	if err := e.newExchange(g.authMethod); err != nil {
		return e.refuseAuth(err)
	}
	e.authMethod = g.authMethod
	e.stage = authenticating
	e.limit = min(e.front.opt.MaxConnectSize, e.front.opt.MaxPacketSize) // still a stranger's
	return e.firstStep(b, g.authData)
}

// unauthenticated handles what comes before the exchange of CONNECT is over.
func (e *engine) unauthenticated(b *core.Batch, f frame) error {
	if err := checkFlags(f, e.version); err != nil {
		return err
	}
	switch f.kind {
	case packets.Auth:
		return e.authPacket(b, f)
	case packets.Disconnect:
		if _, _, err := decodeDisconnect(f.body, e.version); err != nil {
			return err
		}
		return errDisconnected
	}
	return errAuthTurn // [MQTT-3.1.2-30]
}

// authPacket handles AUTH, which is for clients whose CONNECT named a method.
func (e *engine) authPacket(b *core.Batch, f frame) error {
	if e.authMethod == "" {
		return errAuthTurn // [MQTT-4.12.0-7]
	}
	code, method, data, err := decodeAuth(f.body)
	switch {
	case err != nil:
		return err
	case method != e.authMethod:
		return errAuthMethod // [MQTT-4.12.0-5] [MQTT-4.12.1-1]
	case code == packets.CodeContinueAuthentication.Code && e.scram != nil:
		return e.step(b, data) // [MQTT-4.12.0-3]
	case code == packets.CodeReAuthenticate.Code && e.scram == nil && e.stage == connected:
		if err := e.newExchange(method); err != nil {
			return err
		}
		return e.firstStep(b, data)
	}
	return errAuthTurn // [MQTT-3.15.2-1]
}

// firstStep takes the first data of an exchange. SCRAM begins with the client's
// message: one that sent none is asked for it.
func (e *engine) firstStep(b *core.Batch, data []byte) error {
	if data == nil {
		return e.sendAuth(b, packets.CodeContinueAuthentication.Code, nil)
	}
	return e.step(b, data)
}

// step takes the client's next message. A proof after wrong ones is checked later, as
// a password would be; input waits meanwhile.
func (e *engine) step(b *core.Batch, data []byte) error {
	account := e.scram.Claimed() // empty: the proof is yet to come
	if account == "" {
		return e.exchange(b, data, account)
	}
	wait, err := e.front.hub.Try(e.conn.From(), account)
	switch {
	case err != nil:
		return e.refuseAuth(err)
	case wait > 0:
		e.proof = append([]byte{}, data...)
		e.authBy.Store(time.Now().Add(wait + e.front.opt.ConnectTimeout).UnixNano())
		e.shut()
		time.AfterFunc(wait, e.open)
		return e.await()
	}
	return e.exchange(b, data, account)
}

// exchange answers a message [MQTT-4.12.0-2], the proof for an account or the one
// before. It costs a few hashes: the reader can wait for it.
func (e *engine) exchange(b *core.Batch, data []byte, account string) error {
	out, done, err := e.scram.Step(data)
	if account != "" {
		e.front.hub.Tried(e.conn.From(), account, done)
	}
	if err != nil {
		return e.refuseAuth(scramReason(err))
	}
	if !done {
		return e.sendAuth(b, packets.CodeContinueAuthentication.Code, out)
	}
	user := e.scram.User()
	e.scram = nil
	e.authBy.Store(0)
	if e.stage != connected {
		return e.authenticated(b, user, out)
	}
	if user != e.account {
		return e.refuseAuth(errAccount)
	}
	return e.sendAuth(b, packets.CodeSuccess.Code, out)
}

// authenticated lets the user in whom the exchange of CONNECT has proved; last goes
// into CONNACK. A user name in CONNECT adds nothing, but must not tell another story.
func (e *engine) authenticated(b *core.Batch, user string, last []byte) error {
	g := e.greeting
	if g.hasUser {
		if name, err := auth.Normalize(g.user); err != nil || name != user {
			return e.refuseAuth(core.ErrNotAuthorized)
		}
	}
	e.account, g.authData = user, last
	e.limit = e.front.opt.MaxPacketSize
	return e.attach(b)
}

// scramReason is an error of SCRAM in our terms. Unknown users are not told apart.
func scramReason(err error) error {
	switch {
	case errors.Is(err, auth.ErrNotAuthorized):
		return fmt.Errorf("%w: %w", core.ErrNotAuthorized, err)
	case errors.Is(err, auth.ErrMalformed), errors.Is(err, auth.ErrAuthzID):
		return fmt.Errorf("%w: %w", errProof, err)
	}
	return err
}

// refuseAuth notes a refused login, or the re-authentication of a live connection,
// which the error ends [MQTT-4.12.0-4] [MQTT-4.12.1-2].
func (e *engine) refuseAuth(err error) error {
	e.scram = nil
	e.front.count.rejected.Add(1)
	e.front.opt.Log.Info("authentication refused", "client", e.clientID, "account", e.account, "err", err)
	if e.stage == connected && errors.Is(err, core.ErrNotAuthorized) {
		return fmt.Errorf("%w: %w", packets.ErrNotAuthorized, err) // DISCONNECT has no 0x86
	}
	return err
}

// authLate tells whether an exchange has had its time.
func (e *engine) authLate(now time.Time) bool {
	by := e.authBy.Load()
	return by != 0 && now.UnixNano() > by
}

// sendAuth sends the server's message of an exchange.
func (e *engine) sendAuth(b *core.Batch, code byte, data []byte) error {
	packet := encode(packets.Auth, 5, func(p *packets.Packet) {
		p.ReasonCode = code
		p.Properties.AuthenticationMethod, p.Properties.AuthenticationData = e.authMethod, data
	})
	if e.packetMax > 0 && len(packet) > e.packetMax {
		return packets.ErrPacketTooLarge // [MQTT-3.1.2-24]
	}
	e.send(b, packet)
	return nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"golang.org/x/sync/errgroup"

	"pushhub/bus"
	"pushhub/config"
	"pushhub/core"
	"pushhub/core/auth"
	"pushhub/core/wire"
	"pushhub/mqttfront"
	"pushhub/xmppfront"
)

// A hub is everything that serve runs.
type hub struct {
	bus     *bus.Bus
	router  *core.Router
	mqtt    *mqttfront.Front
	xmpp    *xmppfront.Front
	control *control

	keys *keyring

	listeners struct{ mqtt, mqtts, ws, wss, unix, xmpp, xmpps net.Listener } // nil: not open
	stop      context.CancelFunc                                             // ends the router and $SYS
	work      errgroup.Group                                                 // the router and the listeners
	failed    chan error                                                     // the first error of work; capacity 1, never closed
}

// startHub opens the store, restores the state and listens. When it returns
// without an error devices are served until Close.
func startHub(ctx context.Context, cfg config.Config, log *slog.Logger) (_ *hub, err error) {
	h := &hub{failed: make(chan error, 1)}
	defer func() {
		if err != nil {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
			defer cancel()
			err = errors.Join(err, h.Close(closing))
		}
	}()
	if h.keys, err = newKeyring(cfg, log); err != nil {
		return nil, err
	}
	if err := h.listen(cfg); err != nil {
		return nil, err
	}
	if err := h.startCore(ctx, cfg, log); err != nil {
		return nil, err
	}
	if err := h.startFronts(cfg, log); err != nil {
		return nil, err
	}
	h.startSys(ctx, cfg)
	h.control, err = listenControl(cfg.DataDir, h)
	return h, err
}

// startCore opens the bus and runs the router until it has restored everything.
func (h *hub) startCore(ctx context.Context, cfg config.Config, log *slog.Logger) error {
	var err error
	if h.bus, err = bus.Open(ctx, busOptions(cfg, log)); err != nil {
		return err
	}
	acl, err := newACL(cfg.ACL)
	if err != nil {
		return err
	}
	h.router = core.NewRouter(core.Options{
		Journal: h.bus.Journal(), Rows: h.bus.Rows(), ACL: acl,
		Log: log.With("part", "core"), Window: cfg.Limits.Window,
		OfflineMessages: cfg.Limits.OfflineMessages, OfflineBytes: int64(cfg.Limits.OfflineBytes), OfflineAge: cfg.Limits.OfflineAge,
		Subscriptions: cfg.Limits.Subscriptions, TopicBytes: cfg.Limits.TopicBytes, TopicLevels: cfg.Limits.TopicLevels, LoginDelay: cfg.Limits.LoginDelay,
		Checkpoint: checkpointBytes(int64(cfg.Journal.MaxBytes)),
	})
	run, stop := context.WithCancel(context.WithoutCancel(ctx))
	h.stop = stop
	ready := make(chan struct{}) // closed by the router when it has caught up
	h.start(func() error { return h.router.Run(run, func() { close(ready) }) })
	select {
	case <-ready:
		return nil
	case err := <-h.failed:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// checkpointBytes keeps retention from removing what the last checkpoint does not hold.
func checkpointBytes(journal int64) int64 {
	const most = 64 << 20
	if journal == 0 {
		return most
	}
	return min(most, journal/8)
}

// start runs a part of the hub; its error is the hub's.
func (h *hub) start(part func() error) {
	h.work.Go(func() error {
		err := part()
		if err != nil {
			select {
			case h.failed <- err:
			default:
			}
		}
		return err
	})
}

func busOptions(cfg config.Config, log *slog.Logger) bus.Options {
	return bus.Options{
		Dir: filepath.Join(cfg.DataDir, "bus"),
		URL: cfg.NATS.URL, Creds: cfg.NATS.Creds,
		CAFile: cfg.NATS.TLSCA, CertFile: cfg.NATS.TLSCert, KeyFile: cfg.NATS.TLSKey,
		Replicas:   cfg.NATS.Replicas,
		SyncAlways: cfg.NATS.Sync == config.SyncAlways, SyncInterval: time.Duration(cfg.NATS.Sync),
		MaxBytes: int64(cfg.Journal.MaxBytes), MaxAge: cfg.Journal.MaxAge,
		FrameBytes:     int(cfg.Journal.FrameBytes),
		MaxRecordBytes: 2 * int(max(cfg.MQTT.MaxPacketSize, cfg.XMPP.MaxStanzaSize)),
		Log:            log.With("part", "bus"),
	}
}

func newACL(cfg config.ACL) (*auth.ACL, error) {
	rules := make([]auth.Rule, 0, len(cfg.Rules))
	for _, line := range cfg.Rules {
		rule, err := auth.ParseRule(line)
		if err != nil {
			return nil, fmt.Errorf("acl.rules: %w", err)
		}
		rules = append(rules, rule)
	}
	acl := auth.NewACL(rules)
	acl.DefaultDeny, acl.HideSys = cfg.Default == "deny", cfg.HideSys
	return acl, nil
}

// listen opens the listeners before anything else is started, so that a port
// that is taken is said at once.
func (h *hub) listen(cfg config.Config) error {
	for _, l := range []struct {
		key, addr string
		to        *net.Listener
	}{
		{"mqtt.listen", cfg.MQTT.Listen, &h.listeners.mqtt},
		{"mqtt.tls_listen", cfg.MQTT.TLSListen, &h.listeners.mqtts},
		{"mqtt.ws_listen", cfg.MQTT.WSListen, &h.listeners.ws},
		{"mqtt.wss_listen", cfg.MQTT.WSSListen, &h.listeners.wss},
		{"mqtt.unix_listen", cfg.MQTT.UnixListen, &h.listeners.unix},
		{"xmpp.listen", cfg.XMPP.Listen, &h.listeners.xmpp},
		{"xmpp.tls_listen", cfg.XMPP.TLSListen, &h.listeners.xmpps},
	} {
		if l.addr == "" {
			continue
		}
		open := func() (net.Listener, error) { return net.Listen("tcp", l.addr) }
		if l.to == &h.listeners.unix {
			open = func() (net.Listener, error) { return listenUnix(l.addr) }
		}
		ln, err := open()
		if err != nil {
			return fmt.Errorf("%s: %w; stop what listens there, or choose another with --%s", l.key, err, flagName(l.key))
		}
		*l.to = ln
	}
	return nil
}

// startFronts makes the fronts and opens the doors.
func (h *hub) startFronts(cfg config.Config, log *slog.Logger) error {
	scramKey, err := secret(filepath.Join(cfg.DataDir, "scram.key"))
	if err != nil {
		return err
	}
	h.mqtt = mqttfront.New(h.router, mqttfront.Options{
		Anonymous:     cfg.AnonymousAllowed(),
		MaxPacketSize: int(cfg.MQTT.MaxPacketSize), MaxConnectSize: int(cfg.MQTT.MaxConnectSize), ReceiveMax: uint16(cfg.MQTT.ReceiveMax),
		MaxKeepalive: cfg.MQTT.MaxKeepalive, SessionExpiryMax: cfg.MQTT.SessionExpiryMax,
		ConnectTimeout: cfg.MQTT.ConnectTimeout, ScramKey: scramKey,
		TopicAliasMax: aliases(cfg.MQTT.TopicAliasMax), Redirect: cfg.MQTT.Redirect,
		MaxConns: cfg.Limits.MaxConnections, QueueBytes: int(cfg.Limits.QueueBytes),
		ConnsPerAddress: cfg.Limits.ConnectionsPerAddress, ConnRate: cfg.Limits.ConnectRate,
		PublishRate: cfg.Limits.PublishRate, PublishBytes: int(cfg.Limits.PublishBytes),
		CertUser: cfg.MQTT.CertUser == "cn", Window: cfg.Limits.Window, Log: log.With("part", "mqtt"),
	})
	h.xmpp, err = xmppfront.New(h.router, xmppfront.Options{
		Domain: cfg.Domain, Aliases: cfg.DomainAliases,
		Registration: cfg.RegistrationOpen(), PlainWithoutTLS: cfg.PlainWithoutTLSAllowed(), ChannelBinding: cfg.XMPP.ChannelBinding,
		TLS: h.keys.config("xmpp-client"), MaxStanza: int(cfg.XMPP.MaxStanzaSize), LoginTimeout: cfg.XMPP.LoginTimeout,
		MaxConns: cfg.Limits.MaxConnections, QueueBytes: int(cfg.Limits.QueueBytes),
		ConnsPerAddress: cfg.Limits.ConnectionsPerAddress, ConnRate: cfg.Limits.ConnectRate,
		PublishRate: cfg.Limits.PublishRate, PublishBytes: int(cfg.Limits.PublishBytes),
		AdminAddresses: cfg.XMPP.AdminAddresses,
		ScramKey:       scramKey, Version: version(), Log: log.With("part", "xmpp"),
	})
	if err != nil {
		return err
	}
	h.openDoors(cfg)
	return nil
}

// openDoors lets devices in, each listener's in its own way.
func (h *hub) openDoors(cfg config.Config) {
	mqttProxy, xmppProxy := cfg.MQTT.ProxyProtocol == "on", cfg.XMPP.ProxyProtocol == "on"
	upgrade := mqttfront.WebSocket(cfg.MQTT.WSPath, cfg.MQTT.WSOrigins)
	for _, l := range []struct {
		ln    net.Listener
		serve func(net.Listener, wire.Opening) error
		how   wire.Opening
	}{
		{h.listeners.mqtt, h.mqtt.ServeOpening, wire.Opening{Proxy: mqttProxy}},
		{h.listeners.mqtts, h.mqtt.ServeOpening, wire.Opening{Proxy: mqttProxy, TLS: h.keys.config("mqtt")}},
		{h.listeners.ws, h.mqtt.ServeOpening, wire.Opening{WebSocket: upgrade}},
		{h.listeners.wss, h.mqtt.ServeOpening, wire.Opening{TLS: h.keys.config("http/1.1"), WebSocket: upgrade}},
		{h.listeners.unix, h.mqtt.ServeOpening, wire.Opening{}},
		{h.listeners.xmpp, h.xmpp.ServeOpening, wire.Opening{Proxy: xmppProxy}},
		{h.listeners.xmpps, h.xmpp.ServeOpening, wire.Opening{Proxy: xmppProxy, TLS: h.keys.config("xmpp-client")}},
	} {
		if l.ln != nil {
			h.start(func() error { return l.serve(l.ln, l.how) })
		}
	}
}

// aliases is a number of topic aliases as the front has it, where 0 is the default.
func aliases(n int) int {
	if n == 0 {
		return -1
	}
	return n
}

// Close says goodbye to the devices, writes what is not yet written and stops.
func (h *hub) Close(ctx context.Context) error {
	var errs []error
	if h.control != nil {
		errs = append(errs, h.control.Close())
	}
	for _, ln := range []net.Listener{
		h.listeners.mqtt, h.listeners.mqtts, h.listeners.ws, h.listeners.wss, h.listeners.unix, h.listeners.xmpp, h.listeners.xmpps,
	} {
		if ln != nil {
			ln.Close()
		}
	}
	if h.mqtt != nil {
		errs = append(errs, h.mqtt.Shutdown(ctx))
	}
	if h.xmpp != nil {
		errs = append(errs, h.xmpp.Shutdown(ctx))
	}
	if h.stop != nil {
		h.stop()
		errs = append(errs, h.work.Wait())
	}
	if h.bus != nil {
		errs = append(errs, h.bus.Close(ctx))
	}
	return errors.Join(errs...)
}

func address(ln net.Listener) string {
	if ln == nil {
		return ""
	}
	return ln.Addr().String()
}

// MQTTAddr and its siblings are where the hub listens; empty: it does not.
func (h *hub) MQTTAddr() string  { return address(h.listeners.mqtt) }
func (h *hub) MQTTSAddr() string { return address(h.listeners.mqtts) }
func (h *hub) WSAddr() string    { return address(h.listeners.ws) }
func (h *hub) WSSAddr() string   { return address(h.listeners.wss) }
func (h *hub) UnixAddr() string  { return address(h.listeners.unix) }
func (h *hub) XMPPAddr() string  { return address(h.listeners.xmpp) }
func (h *hub) XMPPSAddr() string { return address(h.listeners.xmpps) }

// Register creates an account.
func (h *hub) Register(name, password string) error {
	return wait(func(done func(error)) {
		h.router.Register(name, password, func(_ string, err error) { done(err) })
	})
}

// SetPassword changes an account's password.
func (h *hub) SetPassword(name, password string) error {
	return wait(func(done func(error)) { h.router.ChangePassword(name, password, done) })
}

// Remove deletes an account.
func (h *hub) Remove(name string) error {
	return wait(func(done func(error)) { h.router.RemoveAccount(name, done) })
}

// Link makes two accounts see each other's presence.
func (h *hub) Link(one, other string) error {
	return wait(func(done func(error)) { h.router.LinkContacts(one, other, done) })
}

// Names lists the accounts.
func (h *hub) Names() []string { return h.router.AccountNames() }

// wait turns a call with a callback into one that returns its error.
func wait(call func(done func(error))) error {
	result := make(chan error, 1)
	call(func(err error) { result <- err })
	return <-result
}

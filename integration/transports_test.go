package integration

import (
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"pushhub/integration/hubtest"
)

func TestMQTTOverUnixSocket(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "mqtt.sock")
	h := hubtest.StartHub(t, "--mqtt-unix-listen", path)
	h.AddUser("phone")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o660 {
		t.Fatalf("the socket: %v, %v; want mode 0660", info, err)
	}
	for _, kind := range mqttKinds {
		if kind.name != "mosquitto" && kind.name != "paho-go-3.1.1" && kind.name != "paho-go-5.0" {
			continue // they do not speak to unix sockets
		}
		t.Run(kind.name, func(t *testing.T) {
			kind.need(t)
			client := kind.dial(t, h, mqttOptions{User: "phone", Client: "unix-" + account(kind.name), Unix: true})
			topic := "unix/" + account(kind.name)
			client.Subscribe(topic, 1)
			client.Publish(mqttMessage{Topic: topic, Payload: []byte("near"), QoS: 1})
			client.Await("message over the socket", exactly(topic, []byte("near")))
			client.Quit()
		})
	}
	h.Kill()
	h.Restart() // over the socket that is left
	dialRawUnix(t, path).write(connectPacket4("again", login{}))
	h.Stop()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket is still there: %v", err)
	}
}

func dialRawUnix(t *testing.T, path string) *rawConn {
	t.Helper()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatalf("connecting to %s: %v", path, err)
	}
	return newRaw(t, conn)
}

const (
	proxyV1 = "PROXY TCP4 192.0.2.7 198.51.100.1 12345 1883\r\n"
	proxyV2 = "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x08\xc6\x33\x64\x01\x30\x39\x07\x5b"
)

func TestProxyHeader(t *testing.T) {
	t.Parallel()
	h := hubtest.StartHub(t, "--mqtt-proxy-protocol", "on", "--xmpp-proxy-protocol", "on", "--log-level", "debug")
	h.AddUser("phone")
	for _, c := range []struct{ name, header, from string }{
		{"version 1", proxyV1, "192.0.2.7:12345"},
		{"version 2", proxyV2, "192.0.2.8:12345"},
	} {
		t.Run("MQTT "+c.name, func(t *testing.T) {
			r := dialRaw(t, h.MQTT)
			r.write(append([]byte(c.header), connectPacket4("p", withLogin("phone", hubtest.Password))...))
			r.wantConnack(0)
			r.write(append(packet(0xc0), packet(0xe0)...))
			r.wantPacket()
			r = dialRaw(t, h.MQTT)
			r.write(append([]byte(c.header), connectPacket4("wrong "+c.name, withLogin("phone", "wrong"))...))
			r.wantConnack(4, 5)
			h.WaitLog(t, `client="wrong `+c.name+`" remote=`+c.from)
		})
		t.Run("XMPP "+c.name, func(t *testing.T) {
			r := &rawStream{dialRaw(t, h.XMPP)}
			r.write([]byte(c.header + streamHeader))
			r.want("</stream:features>")
			r.write([]byte("</wrong>"))
			r.wantStreamError("not-well-formed")
			_ = r.Close()
			h.WaitLog(t, "client="+c.from)
		})
		t.Run("beneath TLS "+c.name, func(t *testing.T) {
			r := dialRaw(t, h.MQTTS)
			r.write([]byte(c.header))
			secure := newRaw(t, tls.Client(r.Conn, &tls.Config{InsecureSkipVerify: true})) //nolint:gosec // the certificate is not what is tested
			secure.write(connectPacket4("tls "+c.name, withLogin("phone", "wrong")))
			secure.wantConnack(4, 5)
			h.WaitLog(t, `client="tls `+c.name+`" remote=`+c.from)
		})
	}
	t.Run("none", func(t *testing.T) {
		for _, address := range []string{h.MQTT, h.XMPP, h.MQTTS} {
			r := dialRaw(t, address)
			r.write(connectPacket4("direct", withLogin("phone", hubtest.Password)))
			if said := r.wantClosed(); len(said) > 0 {
				t.Errorf("without a header the hub said %q", said)
			}
		}
		h.WaitLog(t, "connection without a PROXY header")
	})
}

func TestCertificateByName(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t), t.TempDir()
	in := func(name string) string { return filepath.Join(dir, name) }
	a.write(in("a.pem"), in("a.key"), "a.example")
	a.write(in("b.pem"), in("b.key"), "b.example")
	h := hubtest.StartHub(t, "--tls-cert", in("a.pem"), "--tls-key", in("a.key"), "--tls-more-certs", in("b.pem")+":"+in("b.key"), wssListen, anyPort)
	greets := func(address, name string) error {
		conn, err := tls.Dial("tcp", address, &tls.Config{ServerName: name, RootCAs: a.pool, MinVersion: tls.VersionTLS12})
		if err == nil {
			_ = conn.Close()
		}
		return err
	}
	for _, address := range []string{h.MQTTS, h.WSS, h.XMPPS} {
		for _, name := range []string{"a.example", "b.example"} {
			if err := greets(address, name); err != nil {
				t.Errorf("%s at %s: %v", name, address, err)
			}
		}
		if err := greets(address, "c.example"); err == nil {
			t.Error("a certificate for another name was made up")
		}
	}
	a.write(in("b.pem"), in("b.key"), "c.example")
	h.Reload()
	h.WaitLog(t, "the certificates were read again")
	if err := greets(h.MQTTS, "c.example"); err != nil {
		t.Errorf("after SIGHUP: %v", err)
	}
}

func TestLoginByCertificate(t *testing.T) {
	t.Parallel()
	a, dir := newAuthority(t), t.TempDir()
	ca := filepath.Join(dir, "ca.pem")
	a.writeCA(ca)
	h := hubtest.StartHub(t, "--tls-client-ca", ca, "--tls-client-auth", "optional", "--mqtt-cert-user", "cn", "--mqtt-anonymous", "false", wssListen, anyPort)
	h.AddUser("phone", "other")
	trust := clientTLS(t, h)
	for _, c := range []struct {
		name    string
		certs   []tls.Certificate
		login   login
		code    byte
		account string
	}{
		{name: "an account", certs: []tls.Certificate{a.sign("phone")}, account: "phone"},
		{name: "no account", certs: []tls.Certificate{a.sign("stranger")}, code: 0x87},
		{name: "a user name wins", certs: []tls.Certificate{a.sign("phone")}, login: withLogin("other", hubtest.Password), account: "other"},
		{name: "a wrong password is wrong", certs: []tls.Certificate{a.sign("phone")}, login: withLogin("other", "wrong"), code: 0x86},
		{name: "no certificate", code: 0x87},
	} {
		t.Run(c.name, func(t *testing.T) {
			with := trust.Clone()
			with.Certificates = c.certs
			conn, err := tls.Dial("tcp", h.MQTTS, with)
			if err != nil {
				t.Fatal(err)
			}
			r := newRaw(t, conn)
			r.write(connectPacket5("c", c.login))
			r.wantConnack(c.code)
			if c.code != 0 {
				r.wantClosed()
				return
			}
			// An inbox opens to its own account alone.
			for _, name := range []string{"phone", "other"} {
				r.write(packet(0x82, binary.BigEndian.AppendUint16(nil, 1), []byte{0}, str("$inbox/"+name+"/#"), []byte{0}))
				_, suback := r.wantPacket()
				if granted := suback[len(suback)-1] < 0x80; granted != (name == c.account) {
					t.Errorf("the inbox of %s: % x", name, suback)
				}
			}
		})
	}
	t.Run("over WebSocket", func(t *testing.T) {
		with := trust.Clone()
		with.Certificates = []tls.Certificate{a.sign("phone")}
		conn, err := tls.Dial("tcp", h.WSS, with)
		if err != nil {
			t.Fatal(err)
		}
		r := newRaw(t, conn)
		_, in := upgrade(r, getMQTT, wantMQTT)
		r.write(wsFrame(0x82, connectPacket4("w", login{})))
		got := make([]byte, 6)
		if _, err := in.Read(got); err != nil || string(got) != "\x82\x04\x20\x02\x00\x00" {
			t.Errorf("got % x, %v", got, err)
		}
	})
	t.Run("signed by a stranger", func(t *testing.T) {
		with := trust.Clone()
		with.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { // whoever is asked for
			cert := newAuthority(t).sign("phone")
			return &cert, nil
		}
		conn, err := tls.Dial("tcp", h.MQTTS, with)
		if err != nil {
			return // TLS 1.2
		}
		r := newRaw(t, conn)
		r.attack(connectPacket5("c", login{}))
		if said := r.wantClosed(); len(said) > 0 {
			t.Errorf("the hub said % x", said)
		}
	})
}

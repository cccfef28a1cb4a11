package device

import (
	"errors"
	"strings"
	"testing"
)

const (
	apnUser     = "0123456789abcdef0123456789abcdef"
	apnPassword = "fedcba9876543210fedcba9876543210"
	apnFeatures = serverHeader + `<stream:features><auth xmlns="http://jabber.org/features/iq-auth"/></stream:features>`
	apnFields   = `<iq type="result" id="$id"><query xmlns="jabber:iq:auth"><username/><password/><resource/></query></iq>`
	apnDone     = `<iq type="result" id="$id"/>`
)

var apnLogin = play{
	{`version="1.0">`, apnFeatures},
	{"</iq>", apnDone},
	{"</iq>", apnFields},
	{"</iq>", apnDone},
	{"</presence>", ""},
}

func dialAndroidpn(t *testing.T, p play) (*Androidpn, <-chan string, error) {
	t.Helper()
	client, heard := perform(t, p)
	a, err := ConnectAndroidpn(soon(t), AndroidpnOptions{
		Endpoint: onPipe(client), Host: "127.0.0.1", User: apnUser, Password: apnPassword, Register: true, KeepAlive: -1,
	})
	if err == nil {
		t.Cleanup(a.Kill)
	}
	return a, heard, err
}

// The lengths are those of the app itself, as captured.
func TestAndroidpnSpeaksAsTheApp(t *testing.T) {
	a, heard, err := dialAndroidpn(t, append(append(play{}, apnLogin...), play{{"</stream:stream>", bye}}...))
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Error(err)
	}
	said := strings.ReplaceAll(take(t, "what the device said", heard), a.prefix, "0s25g-")
	for _, part := range []struct {
		bytes int
		text  string
	}{
		{114, `<stream:stream to="127.0.0.1" xmlns="jabber:client" xmlns:stream="http://etherx.jabber.org/streams" version="1.0">`},
		{181, `<iq id="0s25g-0" type="set"><query xmlns="jabber:iq:register"><password>` + apnPassword + `</password><username>` + apnUser + `</username></query></iq>`},
		{124, `<iq id="0s25g-1" type="get"><query xmlns="jabber:iq:auth"><username>` + apnUser + `</username></query></iq>`},
		{213, `<iq id="0s25g-2" type="set"><query xmlns="jabber:iq:auth"><username>` + apnUser + `</username><password>` + apnPassword + `</password><resource>AndroidpnClient</resource></query></iq>`},
		{74, `<iq id="0s25g-3" type="get"><query xmlns="jabber:iq:roster" ></query></iq>`},
		{34, `<presence id="0s25g-4"></presence>`},
	} {
		if len(part.text) != part.bytes {
			t.Fatalf("the test itself is wrong: %d bytes, not %d: %s", len(part.text), part.bytes, part.text)
		}
		rest, ok := strings.CutPrefix(said, part.text)
		if !ok {
			t.Fatalf("the device said %s, want %s next", said, part.text)
		}
		said = rest
	}
	if want := `<presence id="0s25g-5" type="unavailable"></presence></stream:stream>`; said != want {
		t.Errorf("the device said %s at last, want %s", said, want)
	}
}

func TestAndroidpnTakesNotificationsAndAnswersPings(t *testing.T) {
	const notification = `<iq type="set" id="314-0" to="x"><notification xmlns="androidpn:iq:notification"><id>9</id><apiKey>k</apiKey><title>T</title><message>hello &amp; push</message><uri>http://x/</uri></notification></iq>`
	a, heard, err := dialAndroidpn(t, append(append(play{}, apnLogin...), play{
		{"", notification + `<iq type="get" id="p1" from="h" to="d"><ping xmlns="urn:xmpp:ping"/></iq>`},
		{"</iq>", bye},
	}...))
	if err != nil {
		t.Fatal(err)
	}
	e := take(t, "notification", a.Events())
	if e.Kind != KindNotification || e.ID != "9" || e.Subject != "T" || string(e.Payload) != "hello & push" || e.URI != "http://x/" {
		t.Errorf("got %+v", e)
	}
	ended(t, "stream", a.Done())
	a.Kill()
	said := take(t, "what the device said", heard)
	if strings.Contains(said, "314-0") || !strings.HasSuffix(said, `<iq id="p1" to="h" from="d" type="error"><error code="501" type="CANCEL"><feature-not-implemented xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`) {
		t.Errorf("the device said %s", said)
	}
}

func TestAndroidpnIsTurnedAway(t *testing.T) {
	const code = `<iq type="error" id="$id"><error code="401" type="auth"><not-authorized xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/></error></iq>`
	_, _, err := dialAndroidpn(t, append(append(play{}, apnLogin[:3]...), play{{"</iq>", code}}...))
	if !errors.Is(err, ErrNotAuthorized) || err.Error() != "log in: the server answered not-authorized" {
		t.Errorf("got %v", err)
	}
	const taken = `<iq type="error" id="$id"><error code="409" type="cancel"/></iq>`
	if _, _, err = dialAndroidpn(t, append(append(play{}, apnLogin[:1]...), append(play{{"</iq>", taken}}, apnLogin[2:]...)...)); err != nil {
		t.Errorf("an account that exists already: %v", err)
	}
}

func TestAndroidpnSendsBlanksToStayConnected(t *testing.T) {
	client, heard := perform(t, append(append(play{}, apnLogin...), play{{" ", ""}, {" ", bye}}...))
	a, err := ConnectAndroidpn(soon(t), AndroidpnOptions{
		Endpoint: onPipe(client), User: apnUser, Password: apnPassword, Register: true, KeepAlive: 2,
	})
	if err != nil {
		t.Fatal(err)
	}
	ended(t, "stream", a.Done())
	a.Kill()
	take(t, "what the device said", heard)
}

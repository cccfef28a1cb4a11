package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
)

// testHub runs a hub with the accounts ada and bob, whose password is demoPassword.
func testHub(t *testing.T) (h *hub, dir string) {
	t.Helper()
	dir = t.TempDir()
	cfg, err := demoConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err = startHub(t.Context(), cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	for _, name := range []string{"ada", "bob"} {
		if err := h.Register(name, demoPassword); err != nil {
			t.Fatal(err)
		}
	}
	return h, dir
}

// runVerb runs a verb as the command line does.
func runVerb(ctx context.Context, out, errOut io.Writer, in io.Reader, args ...string) error {
	app := &cli.App{
		Name: "pushhub", Writer: out, ErrWriter: errOut, Reader: in,
		Commands:       []*cli.Command{pubCommand(), subCommand(), demoCommand()},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	return app.RunContext(ctx, append([]string{"pushhub"}, args...))
}

func codeOf(err error) int {
	var coded cli.ExitCoder
	switch {
	case err == nil:
		return 0
	case errors.As(err, &coded):
		return coded.ExitCode()
	}
	return exitFailure
}

// pubNow runs pub and wants it to work.
func pubNow(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	if err := runVerb(t.Context(), &out, io.Discard, strings.NewReader("from standard input"), append([]string{"pub"}, args...)...); err != nil {
		t.Fatalf("pub %q: %v", args, err)
	}
	return out.String()
}

// subNow runs sub --json; when it returns, sub listens. arrived waits for its end.
func subNow(t *testing.T, args ...string) (arrived func() ([]arrival, error)) {
	t.Helper()
	said, says := io.Pipe()
	var out bytes.Buffer
	done := make(chan error, 1)
	go func() {
		err := runVerb(t.Context(), &out, says, nil, append([]string{"sub", "--json", "--timeout", "10s"}, args...)...)
		says.CloseWithError(io.EOF)
		done <- err
	}()
	line, err := bufio.NewReader(said).ReadString('\n')
	if err != nil {
		t.Fatalf("sub %q: %v", args, <-done)
	}
	if !strings.HasPrefix(line, "listening at ") {
		t.Fatalf("sub said %q", line)
	}
	return func() ([]arrival, error) {
		err := <-done
		var all []arrival
		for d := json.NewDecoder(&out); d.More(); {
			var a arrival
			if err := d.Decode(&a); err != nil {
				t.Fatal(err)
			}
			all = append(all, a)
		}
		return all, err
	}
}

func TestPubReachesSubOverEitherProtocol(t *testing.T) {
	h, dir := testHub(t)
	mqtt := []string{"--server", h.MQTTAddr()}
	tlsMQTT := []string{"--server", h.MQTTSAddr(), "--ca", filepath.Join(dir, "cert.pem")}
	as := func(name string) []string { return []string{"-u", name, "-P", demoPassword} }
	xmpp := func(name string, more ...string) []string {
		return append(append([]string{"--proto", "xmpp", "--server", h.XMPPAddr()}, as(name)...), more...)
	}
	directTLS := append([]string{"--proto", "xmpp", "--server", h.XMPPSAddr(), "--insecure-tls"}, as("ada")...)
	tests := []struct {
		name     string
		sub, pub []string
		want     arrival
		payload  string
	}{
		{"MQTT to MQTT", append(mqtt, "t/#"), append(mqtt, "t/1", "21.5"), arrival{Topic: "t/1"}, "21.5"},
		{"flags behind operands", append([]string{"t/#"}, mqtt...), append([]string{"t/2", "-5"}, mqtt...), arrival{Topic: "t/2"}, "-5"},
		{"standard input", append(mqtt, "t/#"), append(mqtt, "t/3", "-"), arrival{Topic: "t/3"}, "from standard input"},
		{"over TLS", append(tlsMQTT, "t/#"), append(mqtt, "t/4", "x"), arrival{Topic: "t/4"}, "x"},
		{"MQTT to XMPP", xmpp("ada", "t/+"), append(mqtt, "--level", "3", "--qos", "2", "t/5", "y"), arrival{Topic: "t/5", From: "anonymous"}, "y"},
		{"XMPP to MQTT", append(mqtt, "t/#"), xmpp("ada", "t/6", `{"z":1}`), arrival{Topic: "t/6"}, `{"z":1}`},
		{"STARTTLS", append(mqtt, "t/#"), xmpp("ada", "--starttls", "--ca", filepath.Join(dir, "cert.pem"), "t/7", "z"), arrival{Topic: "t/7"}, "z"},
		{"direct TLS", append(mqtt, "t/#"), append(directTLS, "t/8", "z"), arrival{Topic: "t/8"}, "z"},
		{
			"MQTT to an XMPP inbox", xmpp("ada", "--inbox"), append(append(mqtt, as("bob")...), "--id", "pub", "--to", "ada", "hello"),
			arrival{Topic: "$inbox/ada/bob", From: "bob/pub"},
			"hello",
		},
		{
			"XMPP to an MQTT inbox", append(append(mqtt, as("ada")...), "--inbox"), xmpp("bob", "--to", "ada", "hello"),
			arrival{Topic: "$inbox/ada/bob", From: "bob"},
			"hello",
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			arrived := subNow(t, append([]string{"--count", "1"}, tt.sub...)...)
			pubNow(t, tt.pub...)
			all, err := arrived()
			for len(all) > 0 && all[0].Kind == "presence" {
				all = all[1:]
			}
			if err != nil || len(all) != 1 || all[0].Text == nil {
				t.Fatalf("got %+v, %v", all, err)
			}
			if got := all[0]; got.Topic != tt.want.Topic || got.From != tt.want.From || *got.Text != tt.payload || got.Time == "" {
				t.Errorf("got %+v with %q", got, *got.Text)
			}
		})
	}
}

func TestPubKeepsARetainedValueOverEitherProtocol(t *testing.T) {
	h, _ := testHub(t)
	xmpp := []string{"--proto", "xmpp", "--server", h.XMPPAddr(), "-u", "ada", "-P", demoPassword}
	pubNow(t, "--server", h.MQTTAddr(), "--retain", "kept/mqtt", "1")
	pubNow(t, append(xmpp, "--retain", "kept/xmpp", "2")...)
	pubNow(t, append(xmpp, "kept/not", "3")...)
	all, err := subNow(t, "--server", h.MQTTAddr(), "--count", "2", "kept/#")()
	if err != nil || len(all) != 2 {
		t.Fatalf("got %+v, %v", all, err)
	}
	for _, a := range all {
		if !a.Retain || a.Topic == "kept/not" {
			t.Errorf("got %+v", a)
		}
	}
}

func TestPubReportsItsCost(t *testing.T) {
	h, _ := testHub(t)
	var p publication
	if err := json.Unmarshal([]byte(pubNow(t, "--server", h.MQTTAddr(), "--json", "t", "12345")), &p); err != nil {
		t.Fatal(err)
	}
	if p.Topic != "t" || p.Bytes != 5 || p.QoS == nil || *p.QoS != 1 || p.Up < 30 || p.Down < 8 {
		t.Errorf("got %+v", p)
	}
}

func TestExitCodesSayWhatWentWrong(t *testing.T) {
	h, _ := testHub(t)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := closed.Addr().String()
	_ = closed.Close()
	noFile := filepath.Join(t.TempDir(), "none")
	tests := []struct {
		name string
		args []string
		code int
		text string
	}{
		{"no message", []string{"pub", "t"}, exitUsage, "pub takes TOPIC MESSAGE"},
		{"unknown flag", []string{"pub", "t", "m", "--wrong"}, exitUsage, "there is no flag --wrong"},
		{"unknown protocol", []string{"pub", "--proto", "amqp", "t", "m"}, exitUsage, "--proto is mqtt or xmpp"},
		{"QoS 3", []string{"pub", "--qos", "3", "t", "m"}, exitUsage, "--qos is 0, 1 or 2"},
		{"XMPP without an account", []string{"sub", "--proto", "xmpp", "t"}, exitUsage, "give -u NAME -P PASSWORD"},
		{"inbox of nobody", []string{"pub", "--server", h.MQTTAddr(), "--to", "bob", "m"}, exitUsage, "who you are"},
		{"no topic", []string{"sub"}, exitUsage, "sub takes topics"},
		{"no CA file", []string{"sub", "--ca", noFile, "t"}, exitUsage, "no such file"},
		{"no hub", []string{"pub", "--server", nobody, "t", "m"}, exitUnreachable, "no hub answers at " + nobody + "; start one with: pushhub serve"},
		{"wrong password", []string{"sub", "--server", h.MQTTAddr(), "-u", "ada", "-P", "no", "t"}, exitRefused, "check -u and -P"},
		{"wrong XMPP password", []string{"sub", "--proto", "xmpp", "--server", h.XMPPAddr(), "-u", "ada", "-P", "no", "t"}, exitRefused, "check -u and -P"},
		{"another's inbox", []string{"sub", "--server", h.MQTTAddr(), "-u", "ada", "-P", demoPassword, "$inbox/bob/#"}, exitRefused, "0x87"},
		{"nobody's inbox", []string{"pub", "--server", h.MQTTAddr(), "-u", "ada", "-P", demoPassword, "--to", "nobody", "m"}, exitFailure, `is there an account "nobody"?`},
		{"nobody's JID", []string{"pub", "--proto", "xmpp", "--server", h.XMPPAddr(), "-u", "ada", "-P", demoPassword, "--to", "nobody", "m"}, exitFailure, `is there an account "nobody"?`},
		{"MQTT to the XMPP port", []string{"pub", "--server", h.XMPPAddr(), "t", "m"}, exitFailure, "is it MQTT that is spoken"},
		{"XMPP to the MQTT port", []string{"pub", "--proto", "xmpp", "--server", h.MQTTAddr(), "-u", "ada", "t", "m"}, exitFailure, "is it XMPP that is spoken"},
		{"unchecked certificate", []string{"pub", "--server", h.MQTTSAddr(), "--tls", "t", "m"}, exitFailure, "certificate"},
		{"too few", []string{"sub", "--server", h.MQTTAddr(), "--count", "2", "--timeout", "50ms", "t"}, exitTimeout, "0 of 2 messages came within 50ms"},
		{"no count", []string{"sub", "--server", h.MQTTAddr(), "--timeout", "50ms", "t"}, 0, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := runVerb(t.Context(), io.Discard, io.Discard, nil, tt.args...)
			if got := codeOf(err); got != tt.code || err != nil && !strings.Contains(err.Error(), tt.text) {
				t.Errorf("exit %d with %v, want %d with %q", got, err, tt.code, tt.text)
			}
		})
	}
}

func TestSubEndsWellOnCtrlC(t *testing.T) {
	h, _ := testHub(t)
	for _, args := range [][]string{
		{"--server", h.MQTTAddr(), "t"},
		{"--proto", "xmpp", "--server", h.XMPPAddr(), "-u", "ada", "-P", demoPassword, "t"},
	} {
		ctx, interrupt := context.WithCancel(t.Context())
		said, says := io.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- runVerb(ctx, io.Discard, says, nil, append([]string{"sub"}, args...)...)
		}()
		if _, err := bufio.NewReader(said).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		interrupt()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("sub %q: %v", args, err)
			}
		case <-time.After(drainTime):
			t.Fatal("sub goes on")
		}
	}
}

func TestPasswordFile(t *testing.T) {
	h, _ := testHub(t)
	path := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(path, []byte(demoPassword+"\r\nmore\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pubNow(t, "--server", h.MQTTAddr(), "-u", "ada", "--password-file", path, "t", "m")
}

func TestReadableKeepsATerminalSafe(t *testing.T) {
	for in, want := range map[string]string{
		"21.5 °C":      "21.5 °C",
		"two\nlines":   "two\nlines",
		"\x1b[2J":      "base64:G1sySg==",
		"\xff":         "base64:/w==",
		"a\u202eb":     "base64:YeKArmI=",
		"":             "",
		"bell\x07":     "base64:YmVsbAc=",
		"tab\tbetween": "tab\tbetween",
	} {
		if got := readable([]byte(in)); got != want {
			t.Errorf("%q is printed as %q, want %q", in, got, want)
		}
	}
}

package bus

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
	"pushhub/core/journal"
)

func TestOptionsAreChecked(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"no place", Options{}, "needs a directory"},
		{"node with a dot", Options{Dir: t.TempDir(), Node: "a.b"}, "node name"},
		{"embedded replicas", Options{Dir: t.TempDir(), Replicas: 3}, "1 replica"},
		{"nobody listens", Options{URL: "nats://127.0.0.1:1"}, "connecting to NATS"},
		{"a file as directory", Options{Dir: os.Args[0]}, "directory"},
		{"no such CA", Options{URL: "nats://127.0.0.1:1", CAFile: "/nonexistent"}, "connecting to NATS"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b, err := Open(t.Context(), c.o)
			if err == nil {
				closeNode(t, b)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("open: %v, want %q", err, c.want)
			}
		})
	}
}

func TestStoreIsOpenOnce(t *testing.T) {
	dir := t.TempDir()
	first := embeddedAt(t, dir)
	if _, err := Open(t.Context(), Options{Dir: dir}); err == nil || !strings.Contains(err.Error(), "in use by another pushhub") {
		t.Errorf("second open: %v", err)
	}
	closeNode(t, first)
	closeNode(t, embeddedAt(t, dir))
}

func TestRetentionBySize(t *testing.T) {
	n := natsStores(func(o *Options) { o.Dir, o.MaxBytes = t.TempDir(), 64<<10 }).open(t, small())
	f := follow(t, n, 1)
	var last outcome
	for range 200 {
		last = await(t, mustAppend(t, n, strings.Repeat("x", 1000)))
	}
	if last.err != nil || last.pos != journal.At(200, 0) {
		t.Fatalf("last: %v", last)
	}
	if _, err := n.Journal().Read(t.Context(), 1); !errors.Is(err, core.ErrGone) {
		t.Errorf("oldest: %v", err)
	}
	if _, err := n.Journal().Read(t.Context(), 200); err != nil {
		t.Errorf("newest: %v", err)
	}
	f.stop()
	closeNode(t, n)
}

func TestReserveRefusesBeforeTheDiskIsFull(t *testing.T) {
	n := embeddedAt(t, t.TempDir())
	l := n.(*Bus).journal.log.(*natsLog)
	free := uint64(1 << 30)
	var now time.Time
	r := &reserve{free: func() (uint64, error) { return free, nil }, least: 1 << 20}
	step := func() error {
		now = now.Add(reserveAge)
		return r.check(now)
	}
	now = time.Now()
	if err := step(); err != nil {
		t.Errorf("with space: %v", err)
	}
	free = 1 << 10
	if err := r.check(now); err != nil {
		t.Errorf("asked again at once: %v", err)
	}
	if err := step(); err == nil {
		t.Error("no refusal without space")
	}
	free = 1 << 30
	if err := step(); err != nil {
		t.Errorf("with space again: %v", err)
	}
	if real, err := n.(*Bus).server.free(); err != nil || real == 0 || l.reserve == nil {
		t.Errorf("free space: %d, %v", real, err)
	}
	closeNode(t, n)
}

func TestFullDiskRefusesRecords(t *testing.T) {
	n := natsStores(func(o *Options) {
		o.Dir, o.ReserveBytes, o.patience = t.TempDir(), 1<<62, 50*time.Millisecond
	}).open(t, small())
	f := follow(t, n, 1)
	for range 3 {
		if o := await(t, mustAppend(t, n, "x")); !errors.Is(o.err, core.ErrUnavailable) {
			t.Errorf("outcome: %v", o)
		}
	}
	f.stop()
	closeNode(t, n)
}

// TestSmallFileSystemFills needs a file system of 100 to 500 MB that it may fill,
// named by PUSHHUB_SMALL_FS (as root: mount -t tmpfs -o size=200m none DIR).
func TestSmallFileSystemFills(t *testing.T) {
	place := os.Getenv("PUSHHUB_SMALL_FS")
	if place == "" {
		t.Skip("PUSHHUB_SMALL_FS is not set")
	}
	dir, err := os.MkdirTemp(place, "store")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	s := natsStores(func(o *Options) { o.Dir, o.patience = dir, 300*time.Millisecond })
	n := s.open(t, Options{})
	f := follow(t, n, 1)
	record := strings.Repeat("x", 10_000)
	acked := map[journal.Position]bool{}
	for refused := 0; refused < 5; {
		var chans []<-chan outcome
		for range 50 {
			chans = append(chans, mustAppend(t, n, record))
		}
		for _, ch := range chans {
			o := await(t, ch)
			if o.err == nil {
				acked[o.pos] = true
				continue
			}
			refused++
			if !errors.Is(o.err, core.ErrUnavailable) {
				t.Fatal(o.err)
			}
		}
	}
	put(t, n, core.BucketNodes, row("still", "works")) // from the reserve
	f.stop()
	closeNode(t, n)
	n = s.open(t, Options{})
	f = follow(t, n, 1)
	f.catchUp()
	t.Logf("%d records acknowledged, %d stored", len(acked), len(f.order))
	for pos := range acked {
		if f.records[pos] != record {
			t.Fatalf("%s was acknowledged and is gone", pos)
		}
	}
	if len(f.order) != len(acked) {
		t.Errorf("%d records are stored, %d were acknowledged", len(f.order), len(acked))
	}
	expect(t, n, core.BucketNodes, map[string]string{"still": "works"})
	f.stop()
	closeNode(t, n)
}

func TestExternalOverTLS(t *testing.T) {
	certFile, keyFile := selfSigned(t)
	cert, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		t.Fatal(err)
	}
	x := startExternal(t)
	x.stop()
	x.opts.TLSConfig = &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS12}
	x.start()
	if b, err := Open(t.Context(), Options{URL: x.url}); err == nil {
		closeNode(t, b)
		t.Error("an unknown authority is trusted")
	}
	n := natsStores(func(o *Options) { o.URL, o.CAFile = x.url, certFile }).open(t, small())
	f := follow(t, n, 1)
	if o := await(t, mustAppend(t, n, "x")); o.err != nil {
		t.Error(o.err)
	}
	f.stop()
	closeNode(t, n)
}

func TestExternalLimitsTheRecord(t *testing.T) {
	x := startExternal(t)
	x.stop()
	x.opts.MaxPayload = 64 << 10
	x.start()
	n := natsStores(func(o *Options) { o.URL = x.url }).open(t, Options{})
	err := n.Journal().Append(make([]byte, 64<<10), func(journal.Position, error) {})
	if !errors.Is(err, core.ErrQuota) {
		t.Errorf("append: %v", err)
	}
	f := follow(t, n, 1)
	if o := await(t, mustAppend(t, n, strings.Repeat("x", 64<<10-payloadSlack))); o.err != nil {
		t.Errorf("the biggest record: %v", o.err)
	}
	f.stop()
	closeNode(t, n)
}

func selfSigned(t *testing.T) (certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	writePEM(t, certFile, "CERTIFICATE", der)
	writePEM(t, keyFile, "EC PRIVATE KEY", keyDER)
	return certFile, keyFile
}

func writePEM(t *testing.T, file, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsKnownOfAnAppend(t *testing.T) {
	api := func(code jetstream.ErrorCode) error { return &jetstream.APIError{ErrorCode: code} }
	for _, c := range []struct {
		err  error
		want error // nil: unknown
	}{
		{api(codeWrongLastSequence), errContested},
		{api(codeWrongLastSequenceInFlight), errContested},
		{api(codeStoreFailed), nil},
		{api(10047), errRefused}, // no storage left for the account
		{jetstream.ErrNoStreamResponse, errRefused},
		{nats.ErrReconnectBufExceeded, errRefused},
		{nats.ErrConnectionClosed, errRefused},
		{nats.ErrMaxPayload, errRefused},
		{nats.ErrTimeout, nil},
		{nats.ErrDisconnected, nil},
		{context.DeadlineExceeded, nil},
		{jetstream.ErrInvalidJSAck, nil},
	} {
		got := classify(fmt.Errorf("wrapped: %w", c.err))
		if errors.Is(got, errRefused) != (c.want == errRefused) || errors.Is(got, errContested) != (c.want == errContested) {
			t.Errorf("%v: %v, want %v", c.err, got, c.want)
		}
		if !errors.Is(got, c.err) {
			t.Errorf("%v does not wrap %v", got, c.err)
		}
	}
}

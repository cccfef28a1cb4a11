package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// runKeeper runs backup or restore as the command line does.
func runKeeper(t *testing.T, in io.Reader, args ...string) (out, errOut string, err error) {
	t.Helper()
	var o, e bytes.Buffer
	app := &cli.App{
		Name: "pushhub", Writer: &o, ErrWriter: &e, Reader: in,
		Commands:       []*cli.Command{backupCommand(), restoreCommand()},
		ExitErrHandler: func(*cli.Context, error) {},
	}
	err = app.RunContext(t.Context(), append([]string{"pushhub"}, args...))
	return o.String(), e.String(), err
}

func keeperReport(t *testing.T, args ...string) (r backupReport) {
	t.Helper()
	out, _, err := runKeeper(t, nil, append(args, "--json")...)
	if err != nil {
		t.Fatalf("%q: %v", args, err)
	}
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%q printed %q: %v", args, out, err)
	}
	return r
}

// hubAt runs a hub on a data directory until the function that it returns is called.
func hubAt(t *testing.T, dir string) (*hub, func()) {
	t.Helper()
	cfg, err := demoConfig(dir)
	if err != nil {
		t.Fatal(err)
	}
	h, err := startHub(t.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return h, func() {
		t.Helper()
		ctx, cancel := context.WithTimeout(context.Background(), drainTime)
		defer cancel()
		if err := h.Close(ctx); err != nil {
			t.Error(err)
		}
	}
}

// seed gives a hub a session that is away with a message for it, and a retained message.
func seed(t *testing.T, h *hub) {
	t.Helper()
	at := []string{"--server", h.MQTTAddr(), "-u", "ada", "-P", demoPassword}
	arrived := subNow(t, append(at, "--keep", "--id", "phone", "--count", "1", "t/#")...)
	pubNow(t, append(at, "t/1", "first")...)
	if _, err := arrived(); err != nil {
		t.Fatal(err)
	}
	pubNow(t, append(at, "t/2", "while away")...)
	pubNow(t, append(at, "--retain", "kept/x", "1")...)
}

// checkSeed wants back what seed gave, and nothing that came later.
func checkSeed(t *testing.T, h *hub) {
	t.Helper()
	at := []string{"--server", h.MQTTAddr(), "-u", "ada", "-P", demoPassword}
	all, err := subNow(t, append(at, "--keep", "--id", "phone", "--count", "3", "--timeout", "1s", "t/#")...)()
	if len(all) == 2 && codeOf(err) == exitTimeout && all[0].Topic == "t/1" {
		all = all[1:] // what is acknowledged at QoS 1 is journaled lazily: it may come again
	}
	if len(all) != 1 || all[0].Topic != "t/2" || *all[0].Text != "while away" {
		t.Errorf("the session got %+v, %v", all, err)
	}
	all, err = subNow(t, append(at, "--count", "1", "kept/#")...)()
	if err != nil || len(all) != 1 || *all[0].Text != "1" || !all[0].Retain {
		t.Errorf("retained: %+v, %v", all, err)
	}
}

func TestRestoredHubGoesOnWhereItsBackupWasMade(t *testing.T) {
	h, dir := testHub(t)
	seed(t, h)
	file := filepath.Join(t.TempDir(), "hub.backup")
	r := keeperReport(t, "backup", file, "--data-dir", dir)
	if r.Accounts != 2 || r.Frames == 0 || strings.Join(r.Files, " ") != "scram.key cert.pem key.pem" {
		t.Errorf("backed up %+v", r)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 || info.Size() != r.Bytes || exists(file+".part") {
		t.Errorf("the file: %v, %v", info, err)
	}
	pubNow(t, "--server", h.MQTTAddr(), "t/3", "after the backup")

	fresh := filepath.Join(t.TempDir(), "new")
	restored := keeperReport(t, "restore", file, "--data-dir", fresh)
	if restored.Accounts != 2 || restored.Frames != r.Frames || restored.Last != r.Last {
		t.Errorf("restored %+v, backed up %+v", restored, r)
	}
	for _, name := range ownFiles {
		was, _ := os.ReadFile(filepath.Join(dir, name))
		is, err := os.ReadFile(filepath.Join(fresh, name))
		info, serr := os.Stat(filepath.Join(fresh, name))
		if errors.Join(err, serr) != nil || !bytes.Equal(was, is) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s is not the same: %v", name, err)
		}
	}
	again, stop := hubAt(t, fresh)
	checkSeed(t, again)
	if err := again.Register("eve", demoPassword); err != nil {
		t.Error(err)
	}
	stop()
	if r := keeperReport(t, "backup", file, "--data-dir", fresh); r.Accounts != 3 { // over the older one
		t.Errorf("backed up %+v of a hub that does not run", r)
	}
}

func TestBackupTravelsThroughPipes(t *testing.T) {
	dir, fresh := t.TempDir(), filepath.Join(t.TempDir(), "new")
	h, stop := hubAt(t, dir)
	for _, name := range []string{"ada", "bob"} {
		if err := h.Register(name, demoPassword); err != nil {
			t.Fatal(err)
		}
	}
	seed(t, h)
	stop() // the checkpoint holds the session now
	out, said, err := runKeeper(t, nil, "backup", "-", "--data-dir", dir)
	if err != nil || !strings.Contains(said, "2 accounts, 1 retained messages") {
		t.Fatalf("backup said %q, %v", said, err)
	}
	if _, _, err := runKeeper(t, strings.NewReader(out), "restore", "-", "--data-dir", fresh); err != nil {
		t.Fatal(err)
	}
	h, stop = hubAt(t, fresh)
	checkSeed(t, h)
	stop()
}

func TestRestoreRefuses(t *testing.T) {
	h, dir := testHub(t)
	seed(t, h)
	tmp := t.TempDir()
	file := filepath.Join(tmp, "good")
	keeperReport(t, "backup", file, "--data-dir", dir)
	good, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, content []byte) string {
		path := filepath.Join(tmp, name)
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	bad := bytes.Clone(good)
	bad[len(bad)/2] ^= 1
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, "scram.key"), []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(tmp, "fresh")
	tests := []struct {
		name string
		args []string
		code int
		text string
	}{
		{"no file", []string{"restore", "--data-dir", fresh}, exitUsage, "one FILE"},
		{"a file that is not there", []string{"restore", filepath.Join(tmp, "none"), "--data-dir", fresh}, exitFailure, "no such file"},
		{"another file", []string{"restore", write("other", []byte("PK\x03\x04 something else")), "--data-dir", fresh}, exitFailure, "not a whole backup"},
		{"cut short", []string{"restore", write("short", good[:len(good)-5]), "--data-dir", fresh}, exitFailure, "not a whole backup"},
		{"damaged", []string{"restore", write("bad", bad), "--data-dir", fresh}, exitFailure, "not a whole backup"},
		{"beneath a hub", []string{"restore", file, "--data-dir", dir}, exitRefused, "new --data-dir"},
		{"over a key", []string{"restore", file, "--data-dir", used}, exitRefused, "scram.key"},
		{"a backup of nothing", []string{"backup", filepath.Join(tmp, "b"), "--data-dir", fresh}, exitUsage, "--data-dir"},
		{"two files", []string{"backup", "a", "b"}, exitUsage, "one FILE"},
		{"to no directory", []string{"backup", filepath.Join(tmp, "no", "b"), "--data-dir", dir}, exitFailure, "no such file"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, _, err := runKeeper(t, nil, tt.args...)
			if codeOf(err) != tt.code || !strings.Contains(err.Error(), tt.text) {
				t.Errorf("exit %d with %v, want %d with %q", codeOf(err), err, tt.code, tt.text)
			}
			if exists(fresh) || exists(filepath.Join(used, "bus")) || exists(filepath.Join(tmp, "b.part")) {
				t.Error("something was written")
			}
		})
	}
}

func TestFailedRestoreTakesItsKeysAway(t *testing.T) {
	h, dir := testHub(t)
	seed(t, h)
	file := filepath.Join(t.TempDir(), "hub.backup")
	keeperReport(t, "backup", file, "--data-dir", dir)
	used := t.TempDir()
	if err := os.MkdirAll(filepath.Join(used, "bus", "jetstream"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, _, err := runKeeper(t, nil, "restore", file, "--data-dir", used)
	if codeOf(err) != exitRefused || exists(filepath.Join(used, "scram.key")) || exists(filepath.Join(used, "key.pem")) {
		t.Errorf("restore: %v", err)
	}
}

// brokenHub answers on the control socket of a data directory with a part of a backup.
func brokenHub(t *testing.T, dir, why string) {
	ln, err := net.Listen("unix", socketPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", trailerError)
		_, _ = io.WriteString(w, "PUSHHUB BACKUP\n\x01")
		if why != "" {
			w.Header().Set(trailerError, why)
		}
	})}
	done := make(chan error, 1)
	go func() { done <- srv.Serve(ln) }()
	t.Cleanup(func() { _ = srv.Close(); <-done })
}

func TestBackupThatEndsEarlySaysWhyAndLeavesTheOldOne(t *testing.T) {
	for why, want := range map[string]string{"the disk is on fire": "the disk is on fire", "": "cut short"} {
		dir := t.TempDir()
		brokenHub(t, dir, why)
		file := filepath.Join(dir, "hub.backup")
		if err := os.WriteFile(file, []byte("old"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, _, err := runKeeper(t, nil, "backup", file, "--data-dir", dir)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("backup: %v, want %q", err, want)
		}
		if old, _ := os.ReadFile(file); string(old) != "old" || exists(file+".part") {
			t.Errorf("the old backup is %q", old)
		}
	}
}

func TestForeignCertificatesStayWhereTheyAre(t *testing.T) {
	dir := t.TempDir()
	for _, name := range ownFiles {
		if err := os.WriteFile(filepath.Join(dir, name), []byte("no certificate"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	kept, err := keptFiles(dir)
	if err != nil || len(kept) != 1 || kept[0].Name != "scram.key" {
		t.Errorf("kept %v, %v", kept, err)
	}
}

func TestHubSaysWhyItCannotBackUp(t *testing.T) {
	_, dir := testHub(t)
	key := filepath.Join(dir, "scram.key")
	if err := errors.Join(os.Remove(key), os.Mkdir(key, 0o700)); err != nil {
		t.Fatal(err)
	}
	_, _, err := runKeeper(t, nil, "backup", filepath.Join(t.TempDir(), "b"), "--data-dir", dir)
	if err == nil || !strings.Contains(err.Error(), "reading a key of the hub") {
		t.Errorf("backup: %v", err)
	}
}

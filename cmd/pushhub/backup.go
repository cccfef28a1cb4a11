package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"pushhub/bus"
	"pushhub/config"
)

const backupDescription = `Writes accounts, sessions, retained messages and the journal to FILE (- is
standard output), of a hub that runs or not. The hub goes on meanwhile; what it
acknowledged before is in the file, and so are the keys that it made for itself:
keep the file as safe as the data directory.

  pushhub backup hub.backup
  pushhub restore hub.backup --data-dir new`

func backupCommand() *cli.Command {
	return &cli.Command{
		Name: "backup", Usage: "write all that the hub keeps to a file, while it runs", ArgsUsage: "FILE", Description: backupDescription,
		Flags:  append(configFlags(), jsonFlag()),
		Action: runBackup,
	}
}

// trailerError carries to the asker why a backup ended early.
const trailerError = "Pushhub-Error"

// ownFiles are the files of the data directory that a hub makes for itself.
var ownFiles = []string{"scram.key", "cert.pem", "key.pem"}

// keptFiles reads those that are there. A certificate that another signed is the
// operator's, and stays where it is.
func keptFiles(dataDir string) ([]bus.Extra, error) {
	var kept []bus.Extra
	own := true
	for _, name := range ownFiles {
		content, err := os.ReadFile(filepath.Join(dataDir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("reading a key of the hub: %w", err)
		}
		if name == "cert.pem" {
			own = selfSigned(content)
		}
		if own {
			kept = append(kept, bus.Extra{Name: name, Bytes: content})
		}
	}
	return kept, nil
}

func selfSigned(file []byte) bool {
	block, _ := pem.Decode(file)
	if block == nil {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && bytes.Equal(cert.RawIssuer, cert.RawSubject)
}

// serveBackup answers GET /backup of the control socket.
func serveBackup(dataDir string, h *hub) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/octet-stream")
		w.Header().Set("Trailer", trailerError)
		if err := backupTo(r.Context(), w, dataDir, h.bus); err != nil {
			w.Header().Set(trailerError, strings.ReplaceAll(err.Error(), "\n", " "))
		}
	}
}

func backupTo(ctx context.Context, w io.Writer, dataDir string, b *bus.Bus) error {
	files, err := keptFiles(dataDir)
	if err != nil {
		return err
	}
	return b.Backup(ctx, w, files...)
}

// A backupSource is a backup that is being read.
type backupSource struct {
	io.Reader
	failed func() error // why it ended early, after its end
	close  func() error
}

// openSource asks the hub that runs on the data directory for a backup; without
// one it opens the store itself.
func openSource(ctx context.Context, cfg config.Config) (*backupSource, error) {
	client := controlClient(cfg.DataDir)
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://hub/backup", nil)
	if err != nil {
		return nil, err
	}
	res, err := client.Do(req)
	if notDialed(err) {
		return openStoreSource(ctx, cfg)
	}
	if err != nil {
		return nil, fmt.Errorf("asking the hub at %s: %w", socketPath(cfg.DataDir), err)
	}
	if res.StatusCode != http.StatusOK {
		_ = res.Body.Close() // it is the status that matters
		return nil, fmt.Errorf("the hub at %s answers %s", socketPath(cfg.DataDir), res.Status)
	}
	return &backupSource{
		Reader: res.Body,
		failed: func() error {
			if text := res.Trailer.Get(trailerError); text != "" {
				return errors.New(text)
			}
			return nil
		},
		close: func() error { defer client.CloseIdleConnections(); return res.Body.Close() },
	}, nil
}

// openStoreSource makes a backup of the store of a hub that does not run.
func openStoreSource(ctx context.Context, cfg config.Config) (*backupSource, error) {
	o := busOptions(cfg, newLog(config.Log{Level: "error"}, os.Stderr))
	if _, err := os.Stat(filepath.Join(o.Dir, "jetstream")); o.URL == "" && err != nil {
		return nil, cli.Exit(fmt.Sprintf("no hub runs on %s, nor has one: say where its data is with --data-dir", cfg.DataDir), exitUsage)
	}
	b, err := bus.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	r, w := io.Pipe()
	done := make(chan error, 1) // sent by the goroutine below, never closed
	go func() {
		err := backupTo(ctx, w, cfg.DataDir, b)
		w.CloseWithError(err)
		done <- err
	}()
	return &backupSource{
		Reader: r,
		failed: func() error { return nil }, // reading tells
		close: func() error {
			_ = r.Close() // it cannot fail
			<-done        //nolint:errcheck // reading told it already
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
			defer cancel()
			return b.Close(closing)
		},
	}, nil
}

func runBackup(c *cli.Context) error {
	args, err := operands(c)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return usage(c, "backup takes one FILE, got %d", len(args))
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	if args[0] == "-" {
		if out, ok := c.App.Writer.(*os.File); ok && isTerminal(out) {
			return usage(c, "a backup is not for a terminal: name a FILE, or send standard output elsewhere")
		}
		info, err := copyBackup(c, cfg, c.App.Writer)
		if err != nil {
			return err
		}
		return tellBackup(c, c.App.ErrWriter, "backed up", "standard output", info)
	}
	info, err := backupFile(c, cfg, args[0])
	if err != nil {
		return err
	}
	return tellBackup(c, c.App.Writer, "backed up", args[0], info)
}

// backupFile writes to a file that appears under its name only when it is whole
// and on the disk.
func backupFile(c *cli.Context, cfg config.Config, path string) (info bus.BackupInfo, err error) {
	part := path + ".part"
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return info, fmt.Errorf("making the backup's file: %w", err)
	}
	info, err = copyBackup(c, cfg, f)
	if err == nil {
		err = errors.Join(f.Chmod(0o600), f.Sync()) // an older file may have been there
	}
	err = errors.Join(err, f.Close())
	if err == nil {
		err = os.Rename(part, path)
	}
	if err != nil {
		return info, errors.Join(err, os.Remove(part))
	}
	return info, syncDir(filepath.Dir(path))
}

// copyBackup writes the hub's backup to out, and checks it on the way.
func copyBackup(c *cli.Context, cfg config.Config, out io.Writer) (bus.BackupInfo, error) {
	src, err := openSource(c.Context, cfg)
	if err != nil {
		return bus.BackupInfo{}, err
	}
	seen := &progress{in: io.TeeReader(src, out), to: c.App.ErrWriter, what: "backed up", started: time.Now()}
	info, err := bus.Inspect(seen)
	seen.end()
	if why := src.failed(); err != nil && why != nil {
		err = why
	}
	return info, errors.Join(err, src.close())
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("syncing %s: %w", dir, err)
	}
	return errors.Join(d.Sync(), d.Close())
}

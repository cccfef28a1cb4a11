package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"pushhub/bus"
	"pushhub/config"
	"pushhub/core"
)

const restoreDescription = `Restores what "pushhub backup" wrote to FILE (- is standard input) into a data
directory in which no hub has run yet, or into an empty NATS server (--nats-url).
A file that is not whole is refused before anything is written.

  pushhub restore hub.backup --data-dir new
  pushhub serve --data-dir new`

func restoreCommand() *cli.Command {
	return &cli.Command{
		Name: "restore", Usage: "fill a new data directory from a backup", ArgsUsage: "FILE", Description: restoreDescription,
		Flags:  append(configFlags(), jsonFlag()),
		Action: runRestore,
	}
}

func runRestore(c *cli.Context) error {
	args, err := operands(c)
	if err != nil {
		return err
	}
	if len(args) != 1 {
		return usage(c, "restore takes one FILE, got %d", len(args))
	}
	cfg, err := loadConfig(c)
	if err != nil {
		return err
	}
	f, err := openRestored(c, args[0])
	if err != nil {
		return err
	}
	defer f.Close() // it was only read
	seen := &progress{in: f, to: c.App.ErrWriter, what: "read", started: time.Now()}
	b, err := bus.OpenBackup(seen)
	seen.end()
	if err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	seen.what = "restored"
	err = restoreTo(c, cfg, b)
	seen.end()
	if err != nil {
		if errors.Is(err, core.ErrExists) {
			return cli.Exit(err.Error(), exitRefused)
		}
		return err
	}
	return tellBackup(c, c.App.Writer, "restored", cfg.DataDir, b.Info)
}

// openRestored opens the file; what comes from standard input is kept in one
// without a name, since it is read twice.
func openRestored(c *cli.Context, name string) (*os.File, error) {
	if name != "-" {
		f, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("opening the backup: %w", err)
		}
		return f, nil
	}
	f, err := os.CreateTemp("", "pushhub-restore-*")
	if err != nil {
		return nil, fmt.Errorf("keeping standard input: %w", err)
	}
	if err = os.Remove(f.Name()); err == nil {
		_, err = io.Copy(f, c.App.Reader)
	}
	if err != nil {
		return nil, fmt.Errorf("keeping standard input: %w", errors.Join(err, f.Close()))
	}
	return f, nil
}

// restoreTo writes the hub's own files, then the store; all or nothing.
func restoreTo(c *cli.Context, cfg config.Config, b *bus.Backup) error {
	for _, e := range b.Info.Extras {
		if !slices.Contains(ownFiles, e.Name) {
			return fmt.Errorf("the backup carries a file %.40q, which no hub makes", e.Name)
		}
		if path := filepath.Join(cfg.DataDir, e.Name); exists(path) {
			return fmt.Errorf("%w: %s; restore into a new --data-dir, or move it away", core.ErrExists, path)
		}
	}
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return fmt.Errorf("making the data directory: %w", err)
	}
	var made []string
	err := func() error {
		for _, e := range b.Info.Extras {
			path := filepath.Join(cfg.DataDir, e.Name)
			if err := writeNew(path, e.Bytes); err != nil {
				return err
			}
			made = append(made, path)
		}
		if err := syncDir(cfg.DataDir); err != nil {
			return err
		}
		return b.Restore(c.Context, busOptions(cfg, newLog(config.Log{Level: "error"}, os.Stderr)))
	}()
	if err == nil {
		return nil
	}
	for _, path := range made {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// writeNew writes a secret file that must not be there yet.
func writeNew(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("restoring a key of the hub: %w", err)
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("restoring a key of the hub: %w", errors.Join(err, os.Remove(path)))
	}
	return nil
}

// backupReport is what backup and restore print as JSON.
type backupReport struct {
	Done     string   `json:"done"` // backed up, restored
	Where    string   `json:"where"`
	Made     string   `json:"made"` // when the backup was, RFC 3339
	Accounts int      `json:"accounts"`
	Retained int      `json:"retained"` // messages; the newest may be in the journal alone
	Frames   int      `json:"frames"`   // of the journal
	First    uint64   `json:"first"`    // bounds of the journal
	Last     uint64   `json:"last"`
	Bytes    int64    `json:"bytes"` // of the file
	Files    []string `json:"files"`
}

func tellBackup(c *cli.Context, w io.Writer, done, where string, info bus.BackupInfo) error {
	r := backupReport{
		Done: done, Where: where, Made: info.Time.UTC().Format(time.RFC3339),
		Accounts: info.Rows[core.BucketAccounts] - info.Documents, Retained: info.Rows[core.BucketRetained],
		Frames: info.Frames, First: info.First, Last: info.Last, Bytes: info.Bytes, Files: []string{},
	}
	for _, e := range info.Extras {
		r.Files = append(r.Files, e.Name)
	}
	if c.Bool("json") {
		return json.NewEncoder(w).Encode(r)
	}
	files := ""
	if len(r.Files) > 0 {
		files = ", " + strings.Join(r.Files, ", ")
	}
	_, err := fmt.Fprintf(w, "%s: %s\n%d accounts, %d retained messages, the sessions, %d frames of the journal (%d to %d)%s; %d bytes, made at %s\n",
		done, where, r.Accounts, r.Retained, r.Frames, r.First, r.Last, files, r.Bytes, r.Made)
	return err
}

// progress says how far a long read is, on a terminal.
type progress struct {
	in            io.Reader
	to            io.Writer
	what          string
	started, said time.Time
	bytes         int64
}

// Read implements io.Reader.
func (p *progress) Read(b []byte) (int, error) {
	n, err := p.in.Read(b)
	p.bytes += int64(n)
	now := time.Now()
	if f, ok := p.to.(*os.File); ok && now.Sub(p.started) > 2*time.Second && now.Sub(p.said) > 500*time.Millisecond && isTerminal(f) {
		p.said = now
		fmt.Fprintf(p.to, "\r%s %d MiB ", p.what, p.bytes>>20)
	}
	return n, err
}

// Seek implements io.Seeker where what is read does.
func (p *progress) Seek(offset int64, whence int) (int64, error) {
	s, ok := p.in.(io.Seeker)
	if !ok {
		return 0, errors.ErrUnsupported
	}
	p.bytes = 0
	return s.Seek(offset, whence)
}

func (p *progress) end() {
	if !p.said.IsZero() {
		fmt.Fprintln(p.to)
	}
	p.said = time.Time{}
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

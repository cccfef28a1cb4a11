package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

const (
	restoringDir  = "restoring"          // in the embedded store's directory, where a restore works
	restoringMark = "pushhub-restoring"  // metadata of an external log whose restore is not finished
	jetStreamDir  = "jetstream"          // where the server keeps everything
	lockName      = "pushhub.lock"       // see lockDir
	fillerSubject = subjectPrefix + "-0" // of frames that stand for missing ones, and are deleted
)

// A Backup is one that was found whole.
type Backup struct {
	Info BackupInfo
	in   io.ReadSeeker
}

// OpenBackup reads all of in and checks it; errors as of Inspect. The backup
// reads in again when it is restored.
func OpenBackup(in io.ReadSeeker) (*Backup, error) {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return nil, fmt.Errorf("reading the backup: %w", err)
	}
	info, err := Inspect(in)
	if err != nil {
		return nil, err
	}
	return &Backup{info, in}, nil
}

// Restore writes the backup to a store that is empty, where every frame gets the
// sequence it had; the age of a frame counts from now. When it returns nil, all
// is durable. An error leaves the store empty; so does a crash, after which Open
// refuses the store until it is restored or cleared. The error wraps
// core.ErrExists when the store is used already.
func (b *Backup) Restore(ctx context.Context, o Options) error {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return err
	}
	if o.MaxBytes > 0 && b.Info.FrameBytes > o.MaxBytes {
		return fmt.Errorf("the log in the backup has %d bytes, but the settings allow it %d (journal.max_bytes)", b.Info.FrameBytes, o.MaxBytes)
	}
	o.MaxBytes, o.MaxAge = -1, 0 // the next Open sets the limits
	o.MaxRecordBytes = max(o.MaxRecordBytes, b.Info.largest)
	o.attempt = 6 * o.attempt
	restore := b.restoreEmbedded
	if o.URL != "" {
		restore = b.restoreExternal
	}
	if err := restore(ctx, o); err != nil {
		return fmt.Errorf("restoring: %w", err)
	}
	return nil
}

// restoreEmbedded works in a directory of its own. What makes it the store, once
// all of it is on the disk, is a rename.
func (b *Backup) restoreEmbedded(ctx context.Context, o Options) (err error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return fmt.Errorf("making the store's directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return fmt.Errorf("%w; stop it first", err)
	}
	defer lock.Close() // nothing was written to it
	if err := refuseUsed(o.Dir); err != nil {
		return err
	}
	part := filepath.Join(o.Dir, restoringDir)
	if err := os.RemoveAll(part); err != nil {
		return fmt.Errorf("removing an unfinished restore: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(part)) }()
	inside := o
	inside.Dir, inside.SyncAlways, inside.SyncInterval = part, false, time.Hour
	if err := b.fill(ctx, inside, nil); err != nil {
		return err
	}
	if err := syncTree(part); err != nil {
		return err
	}
	if err := os.Remove(filepath.Join(o.Dir, endsFile)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing what was noted of an earlier store: %w", err)
	}
	if err := os.Rename(filepath.Join(part, jetStreamDir), filepath.Join(o.Dir, jetStreamDir)); err != nil {
		return fmt.Errorf("putting the restored store in place: %w", err)
	}
	return syncPath(o.Dir)
}

// refuseUsed refuses a directory in which there is anything but a lock or an
// unfinished restore.
func refuseUsed(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("looking into the store: %w", err)
	}
	for _, e := range entries {
		if e.Name() != lockName && e.Name() != restoringDir && e.Name() != endsFile {
			return fmt.Errorf("%w: %s holds a store; restore into a new directory, or move that one away", core.ErrExists, dir)
		}
	}
	return nil
}

// refuseUnfinished refuses an embedded store whose restore was interrupted.
func refuseUnfinished(dir string) error {
	part := filepath.Join(dir, restoringDir)
	if !there(part) || there(filepath.Join(dir, jetStreamDir)) {
		return nil
	}
	return fmt.Errorf("a restore into %s was interrupted: restore again, or remove %s to start with nothing", dir, part)
}

func there(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}

// restoreExternal marks the log until it is whole.
func (b *Backup) restoreExternal(ctx context.Context, o Options) error {
	return b.fill(ctx, o, map[string]string{restoringMark: "unfinished"})
}

// refuseMarked refuses an external store whose restore was interrupted.
func refuseMarked(ctx context.Context, js jetstream.JetStream) error {
	s, err := js.Stream(ctx, streamName)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking for stream %s: %w", streamName, err)
	}
	if s.CachedInfo().Config.Metadata[restoringMark] == "" {
		return nil
	}
	return fmt.Errorf("a restore was interrupted: restore again, or delete the stream %s to start with nothing", streamName)
}

// fill opens the store at o, writes the backup to it and closes it.
func (b *Backup) fill(ctx context.Context, o Options, mark map[string]string) (err error) {
	n := &Bus{}
	defer n.release()
	if o.URL == "" {
		if n.server, err = startEmbedded(o); err != nil {
			return err
		}
	}
	if n.conn, err = n.dial(o, func() {}); err != nil {
		return err
	}
	if most := int(n.conn.MaxPayload()) - payloadSlack; b.Info.largest > most {
		return fmt.Errorf("the backup has a record of %d bytes, but the NATS server's max_payload allows %d", b.Info.largest, most)
	}
	js, err := jetstream.New(n.conn, jetstream.WithPublishAsyncMaxPending(2*batchRows*len(buckets)))
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	if err := clearStreams(ctx, js); err != nil {
		return err
	}
	if err := b.write(ctx, js, o, mark); err != nil {
		undo, cancel := context.WithTimeout(context.WithoutCancel(ctx), setupTimeout)
		defer cancel()
		return errors.Join(err, deleteStreams(undo, js))
	}
	return nil
}

// clearStreams deletes streams that were never written to, and those of a
// restore that was interrupted; it refuses to delete others.
func clearStreams(ctx context.Context, js jetstream.JetStream) error {
	marked := refuseMarked(ctx, js) != nil
	for _, name := range streamNames() {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("looking for stream %s: %w", name, err)
		}
		if !marked && s.CachedInfo().State.LastSeq > 0 {
			return fmt.Errorf("%w: the NATS server holds the stream %s; restore to another server or account, or delete the streams %v", core.ErrExists, name, streamNames())
		}
	}
	return deleteStreams(ctx, js)
}

func streamNames() []string {
	names := []string{streamName} // the log last: it bears the mark
	for _, bucket := range buckets {
		names = append([]string{rowStream(bucket)}, names...)
	}
	return names
}

// deleteStreams purges them first: when a stream of the same name was deleted a
// moment ago, the server may leave the files of this one behind, and find them
// again when the stream is made anew.
func deleteStreams(ctx context.Context, js jetstream.JetStream) error {
	for _, name := range streamNames() {
		s, err := js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			continue
		}
		if err == nil {
			err = errors.Join(s.Purge(ctx), js.DeleteStream(ctx, name))
		}
		if err != nil {
			return fmt.Errorf("deleting stream %s: %w", name, err)
		}
	}
	return nil
}

// syncTree makes a directory and all below it durable.
func syncTree(root string) error {
	return filepath.WalkDir(root, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("syncing: %w", err)
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("syncing: %w", err)
	}
	err = f.Sync()
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("syncing %s: %w", path, err)
	}
	return nil
}

package bus

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"golang.org/x/sys/unix"
	"pushhub/core"
)

// embedded is the NATS server in this process. It listens to nothing.
type embedded struct {
	server *server.Server
	dir    string
	lock   *os.File
	ends   *ends
}

// startEmbedded locks the directory and starts the server over it.
func startEmbedded(o Options) (*embedded, error) {
	if err := os.MkdirAll(o.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("making the store's directory: %w", err)
	}
	lock, err := lockDir(o.Dir)
	if err != nil {
		return nil, err
	}
	e := &embedded{dir: o.Dir, lock: lock}
	if e.ends, err = openEnds(o.Dir); err == nil {
		err = e.start(o)
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	return e, nil
}

// lockDir keeps other processes out: two servers over one directory destroy it.
// The lock ends with the process, however it ends.
func lockDir(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "pushhub.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the store's lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if err == nil {
		return f, nil
	}
	_ = f.Close() // the error that matters is the lock's
	if errors.Is(err, unix.EWOULDBLOCK) {
		return nil, fmt.Errorf("the store %s is in use by another pushhub", dir)
	}
	return nil, fmt.Errorf("locking the store %s: %w", dir, err)
}

func (e *embedded) start(o Options) error {
	payload := o.MaxRecordBytes + payloadSlack
	s, err := server.NewServer(&server.Options{
		ServerName:   "pushhub-" + o.Node,
		DontListen:   true,
		NoSigs:       true,
		JetStream:    true,
		StoreDir:     e.dir,
		SyncAlways:   o.SyncAlways,
		SyncInterval: o.SyncInterval,
		MaxPayload:   int32(payload),
		MaxPending:   max(server.MAX_PENDING_SIZE, 4*int64(payload)),
		// By default the server takes three quarters of what is free at its start
		// as its limit, so that a log which fills half the disk would not open again.
		JetStreamMaxStore: 1 << 50,
	})
	if err != nil {
		return fmt.Errorf("configuring the embedded NATS server: %w", err)
	}
	logger := &serverLog{log: o.Log}
	s.SetLoggerV2(logger, false, false, false)
	e.server = s
	s.Start()
	if s.ReadyForConnections(10*time.Second) && s.JetStreamEnabled() {
		return nil
	}
	if cause := logger.fatal.Load(); cause != nil {
		return fmt.Errorf("starting the embedded NATS server: %s", *cause)
	}
	return errors.New("the embedded NATS server did not start")
}

// stop ends the server and gives the directory free.
func (e *embedded) stop() {
	if e.server != nil {
		e.server.Shutdown()
		e.server.WaitForShutdown()
	}
	if e.ends != nil {
		_ = e.ends.file.Close() // nothing in it is waited for
	}
	_ = e.lock.Close() // nothing was written to it
}

// free returns how many bytes the disk beneath the store can still take.
func (e *embedded) free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(e.dir, &st); err != nil {
		return 0, fmt.Errorf("asking for the free space of %s: %w", e.dir, err)
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// reserve refuses frames before the disk is full: JetStream is known to lose
// acknowledged messages once a write has failed.
type reserve struct {
	free  func() (uint64, error)
	least uint64

	asked time.Time
	err   error // the last answer
}

// reserveAge is how long an answer holds. Only the lane's goroutine asks.
const reserveAge = 100 * time.Millisecond

func (r *reserve) check(now time.Time) error {
	if r == nil {
		return nil
	}
	if now.Sub(r.asked) < reserveAge {
		return r.err
	}
	r.asked = now
	free, err := r.free()
	switch {
	case err != nil:
		r.err = err
	case free < r.least:
		r.err = fmt.Errorf("%w: only %d MiB are free, %d are kept in reserve", core.ErrFull, free>>20, r.least>>20)
	default:
		r.err = nil
	}
	return r.err
}

// serverLog forwards the server's log. What NATS deems worth a notice is routine
// to an operator of pushhub. It never ends the process, as NATS's own would.
type serverLog struct {
	log   *slog.Logger
	fatal atomic.Pointer[string]
}

func (l *serverLog) Noticef(f string, v ...any) { l.log.Debug("nats: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Warnf(f string, v ...any)   { l.log.Warn("nats: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Errorf(f string, v ...any)  { l.log.Error("nats: " + fmt.Sprintf(f, v...)) }
func (l *serverLog) Debugf(string, ...any)      {}
func (l *serverLog) Tracef(string, ...any)      {}

func (l *serverLog) Fatalf(f string, v ...any) {
	text := fmt.Sprintf(f, v...)
	l.fatal.Store(&text)
	l.log.Error("nats: " + text)
}

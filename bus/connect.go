package bus

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// Options says where the store is and how much it may hold. The zero value of a
// field means its default.
type Options struct {
	Dir string // of the embedded server's files; needed unless URL is given

	URL               string // of an external NATS server, 2.12 or newer; empty: embedded
	Creds             string // file with the NATS credentials
	CAFile            string // PEM, whom the server's certificate must come from
	CertFile, KeyFile string // PEM, this node's certificate

	Node     string // name of this node: letters, digits, "-" and "_"; default "n1"
	Replicas int    // copies of the log and the buckets; default 1

	SyncAlways   bool          // fsync before an append is acknowledged; says so of an external server
	SyncInterval time.Duration // else how often; default 2 minutes, NATS's own (embedded)

	MaxBytes int64         // of the log, beyond which its oldest frames go; default unbounded
	MaxAge   time.Duration // of a frame; default unbounded

	FrameBytes     int   // of a frame that packs several records; default 32 KiB
	MaxRecordBytes int   // of one record or row; default 1 MiB
	QueueBytes     int   // of the records that wait, beyond which core.ErrBusy; default 64 MiB
	ReserveBytes   int64 // free space below which the embedded store refuses records; default 64 MiB, negative: none

	Log *slog.Logger // default: none

	attempt  time.Duration // how long one append may take; default 5 s
	patience time.Duration // how long a refused frame is retried; default 15 s, beyond an election of JetStream's leader
}

const (
	payloadSlack  = 4 << 10 // what a message needs beside its record
	streamName    = "PH_LOG"
	subjectPrefix = "ph.log."
	setupTimeout  = 30 * time.Second
	makeTimeout   = 3 * time.Second
)

func defaultLimits() laneLimits {
	return Options{}.withDefaults().limits()
}

func (o Options) withDefaults() Options {
	setDefault(&o.Node, "n1")
	setDefault(&o.Replicas, 1)
	setDefault(&o.SyncInterval, 2*time.Minute)
	setDefault(&o.FrameBytes, 32<<10)
	setDefault(&o.MaxRecordBytes, 1<<20)
	setDefault(&o.QueueBytes, 64<<20)
	setDefault(&o.ReserveBytes, 64<<20)
	setDefault(&o.Log, slog.New(slog.DiscardHandler))
	setDefault(&o.attempt, 5*time.Second)
	setDefault(&o.patience, 15*time.Second)
	if o.MaxBytes == 0 {
		o.MaxBytes = -1
	}
	o.QueueBytes = max(o.QueueBytes, o.MaxRecordBytes+entryCost)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o Options) limits() laneLimits {
	return laneLimits{
		frame: min(o.FrameBytes, o.MaxRecordBytes), record: o.MaxRecordBytes, queue: o.QueueBytes,
		patience: o.patience, pause: 20 * time.Millisecond,
	}
}

func (o Options) check() error {
	if o.URL == "" && o.Dir == "" {
		return errors.New("the store needs a directory, or the URL of a NATS server")
	}
	if o.URL == "" && o.Replicas != 1 {
		return fmt.Errorf("an embedded store has 1 replica, not %d", o.Replicas)
	}
	for _, c := range o.Node {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_') {
			return fmt.Errorf("node name %q: only letters, digits, - and _ are allowed", o.Node)
		}
	}
	return nil
}

// A Bus is one node's store on NATS. It is safe for concurrent use.
type Bus struct {
	journal *Log
	log     *natsLog // beneath journal
	rows    *natsRows
	subject string
	server  *embedded // nil: external
	conn    *nats.Conn
	closed  atomic.Bool
}

// Open starts the embedded server, or connects to an external one, makes the
// stream and the buckets, and starts the node's lane under a new incarnation. An
// embedded store is open in one process at a time.
func Open(ctx context.Context, o Options) (*Bus, error) {
	o = o.withDefaults()
	if err := o.check(); err != nil {
		return nil, err
	}
	b := &Bus{subject: subjectPrefix + o.Node + "-" + incarnation()}
	if err := b.open(ctx, o); err != nil {
		b.release()
		return nil, err
	}
	return b, nil
}

func (b *Bus) open(ctx context.Context, o Options) (err error) {
	ctx, cancel := context.WithTimeout(ctx, setupTimeout)
	defer cancel()
	if o.URL == "" {
		if err = refuseUnfinished(o.Dir); err != nil {
			return err
		}
		if b.server, err = startEmbedded(o); err != nil {
			return err
		}
	}
	l := &natsLog{subject: b.subject, timeout: o.attempt}
	if b.server != nil {
		l.ends = b.server.ends
	}
	if b.conn, err = b.dial(o, l.interrupt); err != nil {
		return err
	}
	if most := int(b.conn.MaxPayload()) - payloadSlack; most < o.MaxRecordBytes {
		o.Log.Warn("the NATS server's max_payload lowers the limit of a record", "bytes", most, "wanted", o.MaxRecordBytes)
		o.MaxRecordBytes = most
	}
	js, err := jetstream.New(b.conn, jetstream.WithPublishAsyncMaxPending(2*batchRows*len(buckets)))
	if err != nil {
		return fmt.Errorf("using JetStream: %w", err)
	}
	if err := refuseMarked(ctx, js); err != nil {
		return err
	}
	stream, err := makeStream(ctx, js.CreateOrUpdateStream, logConfig(o))
	if err != nil {
		return err
	}
	if b.rows, err = openRows(ctx, js, o); err != nil {
		return err
	}
	b.rows.ends = l.ends
	if err := b.mend(ctx, js, o); err != nil {
		return err
	}
	l.js, l.stream = js, stream
	if b.server != nil && o.ReserveBytes > 0 {
		l.reserve = &reserve{free: b.server.free, least: uint64(o.ReserveBytes)}
	}
	b.log, b.journal = l, startLog(l, o.limits(), o.Log)
	return nil
}

// makeStream makes a stream by create, again while the server is not done
// removing the files of one of that name that was deleted a moment ago.
func makeStream(ctx context.Context, create func(context.Context, jetstream.StreamConfig) (jetstream.Stream, error), cfg jetstream.StreamConfig) (jetstream.Stream, error) {
	until := time.Now().Add(makeTimeout)
	for {
		s, err := create(ctx, cfg)
		if err == nil {
			return s, nil
		}
		if api := (*jetstream.APIError)(nil); !errors.As(err, &api) || api.ErrorCode != codeNoStreamStore || time.Now().After(until) {
			return nil, fmt.Errorf("making stream %s: %w", cfg.Name, err)
		}
		wait(ctx, 50*time.Millisecond)
	}
}

func logConfig(o Options) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:        streamName,
		Description: "pushhub: frames of records",
		Subjects:    []string{subjectPrefix + ">"},
		Storage:     jetstream.FileStorage,
		Retention:   jetstream.LimitsPolicy,
		Discard:     jetstream.DiscardOld,
		Replicas:    o.Replicas,
		MaxBytes:    o.MaxBytes,
		MaxAge:      o.MaxAge,
		AllowDirect: true,
	}
}

// incarnation returns a name that no other start of a node has.
func incarnation() string {
	return strconv.FormatInt(time.Now().UnixMilli(), 36) + rand.Text()[:6]
}

// dial connects; interrupt is called when the connection is lost.
func (b *Bus) dial(o Options, interrupt func()) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name("pushhub " + o.Node),
		nats.MaxReconnects(-1),
		nats.ReconnectWait(250 * time.Millisecond),
		nats.ReconnectBufSize(-1), // an append while disconnected fails at once, certainly not stored
		nats.IgnoreAuthErrorAbort(),
		nats.PingInterval(5 * time.Second),
		nats.MaxPingsOutstanding(2),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			interrupt()
			if err != nil {
				o.Log.Warn("NATS connection lost", "error", err)
			}
		}),
		nats.ReconnectHandler(func(c *nats.Conn) { o.Log.Info("NATS connected again", "server", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { o.Log.Warn("NATS", "error", err) }),
	}
	if b.server != nil {
		opts = append(opts, nats.InProcessServer(b.server.server))
	}
	if o.Creds != "" {
		opts = append(opts, nats.UserCredentials(o.Creds))
	}
	if o.CAFile != "" {
		opts = append(opts, nats.RootCAs(o.CAFile))
	}
	if o.CertFile != "" {
		opts = append(opts, nats.ClientCert(o.CertFile, o.KeyFile))
	}
	conn, err := nats.Connect(o.URL, opts...)
	if err != nil {
		return nil, fmt.Errorf("connecting to NATS: %w", err)
	}
	return conn, nil
}

// Journal returns the log.
func (b *Bus) Journal() core.Journal { return b.journal }

// Rows returns the buckets.
func (b *Bus) Rows() core.Rows { return b.rows }

// Lane is the subject that this incarnation of the node appends to. Whoever else
// publishes there closes the lane.
func (b *Bus) Lane() string { return b.subject }

// Close takes no more records, waits until those queued are stored and, if the
// log is followed, applied, or until ctx ends; what is left by then is told
// core.ErrStopped. Follow returns, the connection and the embedded server end.
func (b *Bus) Close(ctx context.Context) error {
	if b.closed.Swap(true) {
		return nil
	}
	b.journal.stop(ctx)
	b.release()
	return nil
}

func (b *Bus) release() {
	if b.conn != nil {
		b.conn.Close()
	}
	if b.server != nil {
		b.server.stop()
	}
}

package bus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// errOvertaken means that a backup read the log more slowly than retention emptied it.
var errOvertaken = errors.New("retention removed frames before they were copied; repeat it when there is less traffic, or allow the journal more bytes")

// Backup writes the rows and the log to w while the node goes on. What was
// durable before the call is in it. It reads in batches, and keeps no more than
// one of them in memory.
//
// The order makes it consistent. Rows come before the end of the log is looked
// up, so the log tells all that they do not hold yet. Checkpoints come before the
// other rows, which therefore hold at least what a checkpoint counts on. And the
// rows of a bucket are those of one moment, so that of a checkpoint which is
// written as chunks and then a pointer, the pointer never comes without them.
func (b *Bus) Backup(ctx context.Context, w io.Writer, extras ...Extra) error {
	if b.closed.Load() {
		return fmt.Errorf("backing up: %w", core.ErrStopped)
	}
	ctx, cancel := b.untilClosed(ctx)
	defer cancel()
	if err := b.backup(ctx, w, extras); err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return fmt.Errorf("backing up: %w", err)
	}
	return nil
}

// untilClosed ends with the connection too. The caller must call the function
// that it returns.
func (b *Bus) untilClosed(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	closed := b.conn.StatusChanged(nats.CLOSED)
	ended := make(chan struct{}) // closed by the goroutine below
	go func() {
		defer close(ended)
		select {
		case <-closed:
			cancel(core.ErrStopped)
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel(context.Canceled)
		<-ended
		b.conn.RemoveStatusListener(closed)
	}
}

func (b *Bus) backup(ctx context.Context, w io.Writer, extras []Extra) error {
	info, err := b.log.stream.Info(ctx)
	if err != nil {
		return fmt.Errorf("asking for the bounds of the log: %w", err)
	}
	out := newBackupWriter(w, time.Now(), info.State.Bytes)
	for _, e := range extras {
		if err := out.extra(e); err != nil {
			return err
		}
	}
	for _, bucket := range []string{core.BucketNodes, core.BucketRetained, core.BucketAccounts} {
		if err := out.bucket(bucket); err != nil {
			return err
		}
		if err := b.rows.snapshot(ctx, bucket, out.row); err != nil {
			return err
		}
	}
	c := copying{log: b.log, out: out}
	if err := c.run(ctx, info.State.LastSeq); err != nil {
		return err
	}
	return out.end()
}

// copying is the log on its way into a backup.
type copying struct {
	log     *natsLog
	out     *backupWriter
	want    uint64 // the next sequence
	last    uint64 // the newest that is copied
	started bool   // whether the bounds are written
}

// A laidFrame is a frame and the lane that laid it.
type laidFrame struct {
	seq     uint64
	subject string
	bytes   []byte
}

// run copies what is in the log now. The rows were read when it ended at atRows.
func (c *copying) run(ctx context.Context, atRows uint64) error {
	first, last, err := c.log.bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the bounds of the log: %w", err)
	}
	c.want, c.last = first, last
	if first > atRows+1 {
		return errOvertaken
	}
	if first > last {
		return c.finish()
	}
	frames := make(chan laidFrame, 64) // sent by consume's handler, never closed
	stop, err := consume(ctx, c.log.js, streamName, first, func(quit <-chan struct{}, seq uint64, m jetstream.Msg) {
		select {
		case frames <- laidFrame{seq, m.Subject(), m.Data()}:
		case <-quit:
		}
	})
	if err != nil {
		return fmt.Errorf("reading the log from frame %d: %w", first, err)
	}
	defer stop()
	if err := c.receive(ctx, frames, atRows); err != nil {
		return err
	}
	return c.finish()
}

func (c *copying) receive(ctx context.Context, frames <-chan laidFrame, atRows uint64) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for c.want <= c.last {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case f := <-frames:
			if err := c.take(ctx, f, atRows); err != nil {
				return err
			}
		case <-tick.C:
			if done, err := c.gone(ctx, atRows); done || err != nil {
				return err
			}
		}
	}
	return nil
}

// take writes one frame. Retention may shorten the log until the first frame is
// copied, but not by more than was there when the rows were read; afterwards it
// must not overtake.
func (c *copying) take(ctx context.Context, f laidFrame, atRows uint64) error {
	if f.seq > c.want {
		if err := c.skip(ctx, f.seq, atRows); err != nil {
			return err
		}
	}
	if f.seq > c.last {
		c.want = f.seq
		return nil
	}
	if err := c.begin(f.seq); err != nil {
		return err
	}
	c.want = f.seq + 1
	return c.out.frame(f.seq, f.subject, f.bytes)
}

// skip decides whether the frames from c.want to before next may be missing: at
// the front, or as a hole that the log has had all along.
func (c *copying) skip(ctx context.Context, next, atRows uint64) error {
	if !c.started {
		if next > atRows+1 {
			return errOvertaken
		}
		return nil
	}
	first, _, err := c.log.bounds(ctx)
	if err != nil {
		return fmt.Errorf("asking for the bounds of the log: %w", err)
	}
	if first > c.want {
		return errOvertaken
	}
	return nil
}

// gone reports whether nothing is left to copy, when for a while no frame came.
func (c *copying) gone(ctx context.Context, atRows uint64) (bool, error) {
	next, err := c.log.next(ctx, c.want)
	if err == nil && next <= c.last || err != nil && !errors.Is(err, errNothing) {
		return false, nil //nolint:nilerr // the store is away, or slow; the next check asks again
	}
	if err := c.skip(ctx, c.last+1, atRows); err != nil || !c.started {
		return true, err
	}
	return true, fmt.Errorf("the log should end with frame %d, but lacks frame %[1]d", c.last)
}

// begin writes the bounds, once.
func (c *copying) begin(first uint64) error {
	if c.started {
		return nil
	}
	c.started = true
	return c.out.bounds(first, c.last)
}

func (c *copying) finish() error { return c.begin(c.last + 1) }

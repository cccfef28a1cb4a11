package bus

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// Bounds of what a restore has under way.
const (
	refillFrames = 512
	refillBytes  = 16 << 20
	maxHoles     = 1 << 20 // frames missing within a log
)

// write writes the whole backup to streams that it makes.
func (b *Backup) write(ctx context.Context, js jetstream.JetStream, o Options, mark map[string]string) error {
	cfg := logConfig(o)
	cfg.FirstSeq, cfg.Metadata = b.Info.First, mark
	log, err := makeStream(ctx, js.CreateStream, cfg)
	if err != nil {
		return err
	}
	rows, err := openRows(ctx, js, o)
	if err != nil {
		return err
	}
	r := &refill{js: js, log: log, rows: rows, next: b.Info.First, timeout: o.attempt}
	if err := r.run(ctx, b.in, b.Info); err != nil {
		return err
	}
	if mark == nil {
		return nil
	}
	if _, err := js.UpdateStream(ctx, logConfig(o)); err != nil {
		return fmt.Errorf("finishing stream %s: %w", streamName, err)
	}
	return nil
}

// refill is a restore at work.
type refill struct {
	js      jetstream.JetStream
	log     jetstream.Stream
	rows    *natsRows
	timeout time.Duration // of one answer

	bucket  string // of batch
	batch   []core.Row
	size    int // bytes of batch
	next    uint64
	pending []laid
	bytes   int // of pending
	holes   []uint64
}

// laid is a frame whose answer is not there yet.
type laid struct {
	seq    uint64
	bytes  int
	answer jetstream.PubAckFuture
}

func (r *refill) run(ctx context.Context, in io.ReadSeeker, info BackupInfo) error {
	if _, err := in.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("reading the backup again: %w", err)
	}
	b, err := newBackupReader(in)
	if err != nil {
		return err
	}
	for {
		e, err := b.next()
		if err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		switch e.kind {
		case entryRow:
			err = r.row(ctx, b.bucket, core.Row{Key: e.key, Value: e.value})
		case entryFrame:
			err = r.frame(ctx, e)
		case entryEnd:
			if b.info.First != info.First || b.info.Last != info.Last || b.info.Frames != info.Frames {
				return damaged("it has changed since it was checked")
			}
			return r.finish(ctx, b.info)
		}
		if err != nil {
			return err
		}
	}
}

func (r *refill) row(ctx context.Context, bucket string, row core.Row) error {
	if bucket != r.bucket || len(r.batch) == batchRows || r.size > batchBytes {
		if err := r.flush(ctx); err != nil {
			return err
		}
		r.bucket = bucket
	}
	r.batch = append(r.batch, row)
	r.size += len(row.Value)
	return nil
}

func (r *refill) flush(ctx context.Context) error {
	if len(r.batch) == 0 {
		return nil
	}
	err := r.rows.Put(ctx, r.bucket, r.batch)
	clear(r.batch)
	r.batch, r.size = r.batch[:0], 0
	return err
}

func (r *refill) frame(ctx context.Context, e backupEntry) error {
	if err := r.fillUp(ctx, e.seq); err != nil {
		return err
	}
	return r.lay(ctx, e.key, e.value)
}

// fillUp stores frames up to before seq where the log had none, to be deleted at the end.
func (r *refill) fillUp(ctx context.Context, seq uint64) error {
	for r.next < seq {
		if len(r.holes) == maxHoles {
			return damaged("more than %d frames are missing in its log", maxHoles)
		}
		r.holes = append(r.holes, r.next)
		if err := r.lay(ctx, fillerSubject, nil); err != nil {
			return err
		}
	}
	return nil
}

// lay appends a frame without waiting for its answer, unless too much is under way.
func (r *refill) lay(ctx context.Context, subject string, frame []byte) error {
	for len(r.pending) > 0 && (len(r.pending) >= refillFrames || r.bytes+len(frame) > refillBytes) {
		if err := r.await(ctx); err != nil {
			return err
		}
	}
	answer, err := r.js.PublishMsgAsync(&nats.Msg{Subject: subject, Data: frame}, jetstream.WithRetryAttempts(0))
	if err != nil {
		return fmt.Errorf("appending frame %d: %w", r.next, err)
	}
	r.pending = append(r.pending, laid{r.next, len(frame), answer})
	r.bytes += len(frame)
	r.next++
	return nil
}

// await waits for the oldest answer.
func (r *refill) await(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	l := r.pending[0]
	r.pending = r.pending[1:]
	r.bytes -= l.bytes
	select {
	case ack := <-l.answer.Ok():
		if ack.Sequence != l.seq {
			return fmt.Errorf("frame %d became %d: another writes to the store", l.seq, ack.Sequence)
		}
		return nil
	case err := <-l.answer.Err():
		return fmt.Errorf("appending frame %d: %w", l.seq, err)
	case <-ctx.Done():
		return fmt.Errorf("appending frame %d: %w", l.seq, ctx.Err())
	}
}

// finish waits for everything, and compares the log with what the backup says.
func (r *refill) finish(ctx context.Context, info BackupInfo) error {
	if err := r.flush(ctx); err != nil {
		return err
	}
	for len(r.pending) > 0 {
		if err := r.await(ctx); err != nil {
			return err
		}
	}
	for _, seq := range r.holes {
		if err := r.log.DeleteMsg(ctx, seq); err != nil {
			return fmt.Errorf("leaving out frame %d: %w", seq, err)
		}
	}
	state, err := r.log.Info(ctx)
	if err != nil {
		return fmt.Errorf("asking for the bounds of the log: %w", err)
	}
	if got := state.State; got.LastSeq != info.Last || got.Msgs != uint64(info.Frames) {
		return fmt.Errorf("the restored log ends at frame %d and has %d frames, not %d and %d", got.LastSeq, got.Msgs, info.Last, info.Frames)
	}
	return nil
}

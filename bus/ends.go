package bus

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core/journal"
)

// ends remembers, beside the embedded store, how far each of its streams has come.
// A store whose newest block is damaged drops, when it opens, what it cannot read,
// with all that follows, and says nothing of it: only this tells that something is
// missing. Nothing is synced: the file outlives the process, and after a power cut
// it is at worst too old to notice everything.
type ends struct {
	file *os.File

	mu   sync.Mutex // guards last and the order of writes, which reach the page cache only
	last map[string]uint64
}

const (
	endsFile = "ends"
	endWidth = 20 // digits of a sequence; a line each
)

// endStreams are the streams in the order of their lines.
var endStreams = []string{streamName, rowStream(buckets[0]), rowStream(buckets[1]), rowStream(buckets[2])}

// openEnds reads what an earlier process noted; a line that is not whole tells nothing.
func openEnds(dir string) (*ends, error) {
	f, err := os.OpenFile(filepath.Join(dir, endsFile), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("opening the notes on where the store ends: %w", err)
	}
	e := &ends{file: f, last: map[string]uint64{}}
	b := make([]byte, len(endStreams)*(endWidth+1))
	n, _ := f.ReadAt(b, 0) // a new file is short
	if !there(filepath.Join(dir, jetStreamDir)) {
		n = 0 // the store is new, whatever was here before
	}
	for i, line := range bytes.Split(b[:n], []byte("\n")) {
		if seq, err := strconv.ParseUint(string(line), 10, 64); err == nil && len(line) == endWidth && i < len(endStreams) {
			e.last[endStreams[i]] = seq
		}
	}
	for i, s := range endStreams { // the file has its size from now on, also on a full disk
		if err := e.write(i, e.last[s]); err != nil {
			_ = f.Close() // it is of no use
			return nil, fmt.Errorf("noting where the store ends: %w", err)
		}
	}
	return e, nil
}

func (e *ends) write(line int, seq uint64) error {
	_, err := e.file.WriteAt(fmt.Appendf(nil, "%0*d\n", endWidth, seq), int64(line*(endWidth+1)))
	return err
}

// reached notes that a stream holds a message of that sequence. A nil ends notes nothing.
func (e *ends) reached(stream string, seq uint64) {
	if e == nil {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if seq <= e.last[stream] {
		return
	}
	e.last[stream] = seq
	for i, s := range endStreams {
		if s == stream {
			_ = e.write(i, seq) // the next one tries again; the store itself holds what was stored
		}
	}
}

// begin notes that a stream ends earlier than was known.
func (e *ends) begin(stream string, seq uint64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.last[stream] = seq
	for i, s := range endStreams {
		if s == stream {
			_ = e.write(i, seq) // else it is said again at the next start
		}
	}
}

// missing is how many messages a stream had that its end does not show any more.
func (e *ends) missing(stream string, last uint64) uint64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	if noted := e.last[stream]; noted > last {
		return noted - last
	}
	return 0
}

// mend looks for damage at the ends of the streams and reports it. What the log
// has lost is filled with empty frames: a sequence must never name two frames, or
// what is new would be taken for what checkpoint and sessions have had already.
func (b *Bus) mend(ctx context.Context, js jetstream.JetStream, o Options) error {
	if b.server == nil {
		return nil
	}
	for _, s := range endStreams {
		stream, err := js.Stream(ctx, s)
		if err != nil {
			return fmt.Errorf("asking for stream %s: %w", s, err)
		}
		info, err := stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("asking for the end of stream %s: %w", s, err)
		}
		last := info.State.LastSeq
		n := b.server.ends.missing(s, last)
		if n == 0 {
			continue
		}
		o.Log.Error("the store is damaged: what it held last is lost; a backup may have it",
			"stream", s, "lost", n, "from", last+1, "to", last+n)
		if s != streamName {
			b.server.ends.begin(s, last) // said once is enough
			continue
		}
		if err := fill(context.WithoutCancel(ctx), js, n); err != nil {
			return fmt.Errorf("filling the end of stream %s: %w", s, err)
		}
	}
	return nil
}

// fill appends n empty frames, many at once.
func fill(ctx context.Context, js jetstream.JetStream, n uint64) error {
	empty := (&journal.Frame{}).Bytes()
	const atOnce = 256
	for n > 0 {
		answers := make([]jetstream.PubAckFuture, min(n, atOnce))
		for i := range answers {
			var err error
			if answers[i], err = js.PublishMsgAsync(&nats.Msg{Subject: fillerSubject, Data: empty, Header: nats.Header{}}); err != nil {
				return err
			}
		}
		for _, a := range answers {
			select {
			case <-a.Ok():
			case err := <-a.Err():
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		n -= uint64(len(answers))
	}
	return nil
}

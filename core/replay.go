package core

import (
	"context"
	"errors"
	"time"

	"pushhub/core/journal"
)

// readPause is how long a replayer waits after a read that failed.
const readPause = 100 * time.Millisecond

// replayers is how many frames are read at once for the sessions that are behind.
const replayers = 4

// read has the frame of pos, which the session needs next, read. The caller holds mu.
func (s *Session) read(pos journal.Position) {
	if s.reading {
		return
	}
	s.reading, s.need = true, pos
	r := s.r
	r.replay.Lock()
	r.replay.waiting = append(r.replay.waiting, s)
	r.replay.Unlock()
	select {
	case r.replays <- struct{}{}:
	default: // all replayers are awake
	}
}

// replayLoop reads frames for sessions until ctx ends.
func (r *Router) replayLoop(ctx context.Context) {
	var b Batch
	for {
		select {
		case <-r.replays:
		case <-ctx.Done():
			return
		}
		for s := r.nextReplay(); s != nil && ctx.Err() == nil; s = r.nextReplay() {
			r.replayOne(ctx, s, &b)
			b.Flush()
		}
	}
}

func (r *Router) nextReplay() *Session {
	r.replay.Lock()
	defer r.replay.Unlock()
	if len(r.replay.waiting) == 0 {
		r.replay.waiting = nil
		return nil
	}
	s := r.replay.waiting[0]
	r.replay.waiting = r.replay.waiting[1:]
	return s
}

// replayOne reads the frame that the session needs, and lets it go on.
func (r *Router) replayOne(ctx context.Context, s *Session, b *Batch) {
	s.mu.Lock()
	pos := s.need
	s.mu.Unlock()
	if !r.readFrame(ctx, pos.Seq()) {
		select { // the store may be back then
		case <-time.After(readPause):
		case <-ctx.Done():
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reading = false
	if ctx.Err() == nil {
		s.pump(b)
	}
}

// readFrame brings a frame into the cache; one that cannot be had any more is noted
// as gone. It reports false when it may be had later.
func (r *Router) readFrame(ctx context.Context, seq uint64) (done bool) {
	if r.frames.has(seq) {
		return true // another session had it read meanwhile
	}
	frame, err := r.opt.Journal.Read(ctx, seq)
	var records [][]byte
	if err == nil {
		records, err = journal.Split(frame)
	}
	switch {
	case err == nil:
		r.frames.put(&cached{seq: seq, records: records})
	case errors.Is(err, ErrGone) || errors.Is(err, journal.ErrCorrupt):
		r.frames.put(&cached{seq: seq, gone: true})
		r.log.Warn("a frame of the journal is gone; what sessions were owed of it is lost", "sequence", seq, "err", err)
	default:
		if now := time.Now().Unix(); r.readFailed.Swap(now) != now { // once a second tells enough
			r.log.Error("reading a frame of the journal", "sequence", seq, "err", err)
		}
		return false
	}
	return true
}

package core

import (
	"context"
	"encoding/binary"
	"fmt"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"pushhub/core/journal"
	"pushhub/core/session"
)

// A checkpoint is the durable state at a position of the log: sessions, postings
// and wills, in chunks. The hub starts from the last whole one and follows the
// log from there.
const (
	checkpointKey = "checkpoint"
	chunkBytes    = 256 << 10
	// checkpointAge is how old a checkpoint may be on a hub with little to do: well
	// below the age at which the journal loses what it holds.
	checkpointAge = 5 * time.Minute
)

// The kinds of entries in a chunk: kind(1), then length-prefixed key and value.
const (
	entrySession  = 1 // account U+0000 resource, row
	entryPostings = 2 // filter, { position delta, size }*
	entryWill     = 3 // account U+0000 resource, delay and message
	entryAges     = 4 // nothing, { time, position }*
	entryShare    = 5 // shared subscription, cursor and open positions
	entryOpen     = 6 // shared subscription, more open positions
)

// putChunks is how many chunks are stored at once.
const putChunks = 16

// A checkpointer writes chunks.
type checkpointer struct {
	generation uint64
	put        func([]Row) error
	rows       []Row // not stored yet
	chunks     int   // cut so far
	chunk      []byte
	err        error // of put, the first
}

func chunkKey(generation uint64, n int) string {
	return fmt.Sprintf("%s/%d/%d", checkpointKey, generation, n)
}

func (c *checkpointer) add(kind byte, key string, value []byte) {
	c.chunk = append(c.chunk, kind)
	c.chunk = journal.AppendBytes(c.chunk, key)
	c.chunk = journal.AppendBytes(c.chunk, value)
	if len(c.chunk) >= chunkBytes {
		c.cut()
	}
}

func (c *checkpointer) cut() {
	if len(c.chunk) == 0 {
		return
	}
	c.rows = append(c.rows, Row{chunkKey(c.generation, c.chunks), c.chunk})
	c.chunks++
	c.chunk = nil
	if len(c.rows) == putChunks {
		c.store()
	}
}

func (c *checkpointer) store() {
	if c.err == nil && len(c.rows) > 0 {
		c.err = c.put(c.rows)
	}
	c.rows = nil
}

// flushRows writes the retained messages that changed and, when it is time or
// must, a checkpoint. Its position is taken first: what is retained after it, the
// log tells.
func (r *Router) flushRows(ctx context.Context, must bool) error {
	at := journal.Position(r.applied.Load())
	if err := r.flushRetained(ctx); err != nil {
		return err
	}
	c := &r.checkpoints
	if !c.old.Load() || (!must && c.bytes.Load() < r.opt.Checkpoint && time.Since(c.written) < checkpointAge) {
		return nil
	}
	return r.checkpoint(ctx, at)
}

// checkpoint writes the durable state. Sessions go on meanwhile: what they are
// ahead of the position, the log repeats without harm.
func (r *Router) checkpoint(ctx context.Context, at journal.Position) error {
	r.checkpoints.old.Store(false)
	r.checkpoints.next++ // never used again, whatever becomes of this one
	c := &checkpointer{
		generation: r.checkpoints.next,
		put:        func(rows []Row) error { return r.opt.Rows.Put(ctx, BucketNodes, rows) },
	}
	var buf []byte
	for _, s := range r.durableSessions() {
		s.mu.Lock()
		if s.gone {
			s.mu.Unlock()
			continue
		}
		buf = s.state.AppendRow(buf[:0], at)
		s.mu.Unlock()
		c.add(entrySession, sessionKey(s.addr), buf)
	}
	r.addShares(c)
	r.addPostings(c)
	if ages := &r.checkpoints.ages; r.opt.OfflineAge > 0 {
		ages.note(r.now(), at, r.opt.OfflineAge, true)
		c.add(entryAges, "", ages.append(nil))
	}
	for _, w := range r.encodedWills() {
		c.add(entryWill, w.Key, w.Value)
	}
	c.cut()
	c.store()
	if c.err != nil {
		r.checkpoints.old.Store(true)
		return fmt.Errorf("writing a checkpoint: %w", c.err)
	}
	pointer := binary.AppendUvarint(nil, c.generation)
	pointer = binary.AppendUvarint(pointer, uint64(at))
	pointer = binary.AppendUvarint(pointer, uint64(c.chunks))
	r.mu.RLock()
	pointer = binary.AppendUvarint(pointer, uint64(len(r.sessions)))
	pointer = binary.AppendUvarint(pointer, uint64(len(r.filters)))
	r.mu.RUnlock()
	if err := r.opt.Rows.Put(ctx, BucketNodes, []Row{{checkpointKey, pointer}}); err != nil {
		r.checkpoints.old.Store(true)
		return fmt.Errorf("writing a checkpoint: %w", err)
	}
	return r.dropCheckpoint(ctx, c.generation, c.chunks)
}

// dropCheckpoint deletes the chunks of the checkpoint before the one just written.
func (r *Router) dropCheckpoint(ctx context.Context, generation uint64, chunks int) error {
	old := make([]Row, r.checkpoints.chunks)
	for i := range old {
		old[i].Key = chunkKey(r.checkpoints.generation, i)
	}
	r.checkpoints.generation, r.checkpoints.chunks = generation, chunks
	r.checkpoints.bytes.Store(0)
	r.checkpoints.written = time.Now()
	if len(old) == 0 {
		return nil
	}
	if err := r.opt.Rows.Put(ctx, BucketNodes, old); err != nil {
		return fmt.Errorf("deleting an old checkpoint: %w", err)
	}
	return nil
}

// maxPresize bounds what a damaged pointer could make the hub allocate.
const maxPresize = 1 << 24

// maxPostings is how many positions one entry holds, so that entries stay small.
const maxPostings = 16 << 10

func (r *Router) addPostings(c *checkpointer) {
	r.mu.RLock()
	filters := make([]*durableFilter, 0, len(r.filters))
	for _, df := range r.filters {
		filters = append(filters, df)
	}
	r.mu.RUnlock()
	for _, df := range filters {
		for _, part := range r.encodePostings(df) {
			c.add(entryPostings, df.text, part)
		}
	}
}

// encodePostings encodes what the log has for a filter, in parts that each begin
// anew. Nothing is stored under the lock.
func (r *Router) encodePostings(df *durableFilter) (parts [][]byte) {
	r.posted.RLock()
	defer r.posted.RUnlock()
	var buf []byte
	var last journal.Position
	n := 0
	for pos, size := range df.postings.Each {
		buf = binary.AppendUvarint(buf, uint64(pos-last))
		buf = binary.AppendUvarint(buf, uint64(size))
		last = pos
		if n++; n%maxPostings == 0 {
			parts = append(parts, buf)
			buf, last = nil, 0
		}
	}
	if len(buf) > 0 {
		parts = append(parts, buf)
	}
	return parts
}

// loadCheckpoint restores the last checkpoint, and says from which position the
// log must be followed.
func (r *Router) loadCheckpoint(ctx context.Context) error {
	chunks := map[string][]byte{}
	err := r.opt.Rows.Load(ctx, BucketNodes, func(row Row) error {
		if row.Key == checkpointKey || strings.HasPrefix(row.Key, checkpointKey+"/") {
			chunks[row.Key] = row.Value
		}
		return nil
	})
	if err != nil {
		return err
	}
	pointer, ok := chunks[checkpointKey]
	if !ok {
		return nil // the log tells everything
	}
	d := journal.Decoder{Rest: pointer}
	generation, at, n := d.Uvarint(), d.Uvarint(), d.Uvarint()
	if d.Err != nil {
		return d.Err
	}
	// As large as they will be: growing them takes longer than filling them.
	r.sessions = make(map[Address]*Session, min(d.Uvarint(), maxPresize))
	r.filters = make(map[string]*durableFilter, min(d.Uvarint(), maxPresize))
	whole := make([][]byte, n)
	for i := range whole {
		chunk, ok := chunks[chunkKey(generation, i)]
		if !ok {
			return fmt.Errorf("%w: chunk %d of %d is missing", journal.ErrCorrupt, i, n)
		}
		whole[i] = chunk
		delete(chunks, chunkKey(generation, i))
	}
	if err := r.loadChunks(whole); err != nil {
		return err
	}
	r.loadTakings()
	r.checkpoints.generation, r.checkpoints.next, r.checkpoints.chunks = generation, generation, int(n)
	r.applied.Store(at)
	delete(chunks, checkpointKey)
	return r.dropStrays(ctx, chunks)
}

// dropStrays deletes the chunks of a checkpoint that was not finished, or not cleaned up.
func (r *Router) dropStrays(ctx context.Context, strays map[string][]byte) error {
	rows := make([]Row, 0, len(strays))
	for key := range strays {
		if generation, err := strconv.ParseUint(strings.Split(key, "/")[1], 10, 64); err == nil {
			r.checkpoints.next = max(r.checkpoints.next, generation)
		}
		rows = append(rows, Row{Key: key})
	}
	return r.put(ctx, BucketNodes, rows)
}

// loadChunks restores the sessions, on all processors, then what needs them to be there.
func (r *Router) loadChunks(chunks [][]byte) error {
	// Nearly all that this makes stays: collecting in between only delays the start.
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	errs := make([]error, len(chunks))
	var next atomic.Int64
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < len(chunks); i = int(next.Add(1)) - 1 {
				errs[i] = r.loadChunk(chunks[i], true)
			}
		})
	}
	wg.Wait()
	for i, chunk := range chunks {
		if errs[i] == nil {
			errs[i] = r.loadChunk(chunk, false)
		}
		if errs[i] != nil {
			return fmt.Errorf("chunk %d: %w", i, errs[i])
		}
	}
	return nil
}

// loadChunk restores the entries of a chunk that are sessions, or all others.
func (r *Router) loadChunk(chunk []byte, sessions bool) error {
	d := journal.Decoder{Rest: chunk}
	for len(d.Rest) > 0 {
		kind, rawKey, value := d.Byte(), d.Bytes(), d.Bytes()
		if d.Err != nil {
			return d.Err
		}
		if (kind == entrySession) != sessions {
			continue
		}
		key := string(rawKey)
		if err := r.loadEntry(kind, key, value); err != nil {
			return err
		}
	}
	return nil
}

func (r *Router) loadEntry(kind byte, key string, value []byte) error {
	switch kind {
	case entryPostings:
		return r.loadPostings(key, value)
	case entryAges:
		return r.checkpoints.ages.load(value)
	case entryShare:
		return r.loadShare(key, value)
	case entryOpen:
		return r.loadOpen(key, value)
	}
	account, resource, ok := strings.Cut(key, "\x00")
	if !ok {
		return fmt.Errorf("%w: %q is no address", journal.ErrCorrupt, key)
	}
	addr := Address{account, resource}
	switch kind {
	case entrySession:
		return r.loadSession(addr, value)
	case entryWill:
		w, err := decodeWill(value, addr)
		if err != nil {
			return err
		}
		r.wills.m[addr] = w
		return nil
	}
	return fmt.Errorf("%w: entry kind %d is unknown", journal.ErrCorrupt, kind)
}

// loadPostings restores what the log has for a filter; its sessions came before it.
func (r *Router) loadPostings(filter string, value []byte) error {
	df := r.filters[filter]
	if df == nil {
		return nil // nobody has it any more
	}
	d := journal.Decoder{Rest: value}
	var pos journal.Position
	for len(d.Rest) > 0 {
		pos += journal.Position(d.Uvarint())
		size := d.Uvarint()
		if d.Err != nil {
			return d.Err
		}
		df.postings.Add(pos, int(size))
	}
	return nil
}

func (r *Router) loadSession(addr Address, row []byte) error {
	s := newSession(r, addr, true)
	err := s.state.DecodeRow(row, func(filter string, o session.Options) (string, *journal.Postings) {
		if o.QoS == 0 {
			return filter, &nothing
		}
		df := r.refer(s, filter, 0)
		return df.text, df.forSession()
	})
	if err != nil {
		return fmt.Errorf("session %s: %w", addr, err)
	}
	r.mu.Lock()
	r.sessions[addr] = s
	r.mu.Unlock()
	return nil
}

package bus

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"pushhub/core"
)

// Memory is the twin of Bus that keeps everything in memory, for tests: the same
// lane and tail over a log that is a slice, with faults to order. It is safe for
// concurrent use.
type Memory struct {
	log     *memLog
	rows    *memRows
	journal *Log
}

// NewMemory starts an empty twin. Close it to end its goroutine.
func NewMemory() *Memory {
	return openMemory(&memLog{first: 1, changed: make(chan struct{})}, newMemRows(), "ph.log.memory-1", defaultLimits())
}

func openMemory(log *memLog, rows *memRows, subject string, limits laneLimits) *Memory {
	limits.patience = 0 // faults are ordered, not passing
	view := &memLane{memLog: log, subject: subject}
	return &Memory{log: log, rows: rows, journal: startLog(view, limits, slog.New(slog.DiscardHandler))}
}

// Journal returns the log.
func (m *Memory) Journal() core.Journal { return m.journal }

// Rows returns the buckets.
func (m *Memory) Rows() core.Rows { return m.rows }

// Close is Bus.Close.
func (m *Memory) Close(ctx context.Context) error {
	m.journal.stop(ctx)
	return nil
}

// Reopen returns a new node over what this one has stored, as a restart does.
// Close the old one first, or leave it as a zombie.
func (m *Memory) Reopen() *Memory {
	m.log.mu.Lock()
	m.log.nodes++
	subject := fmt.Sprintf("ph.log.memory-%d", m.log.nodes+1)
	m.log.mu.Unlock()
	return openMemory(m.log, m.rows, subject, m.journal.lane.limits)
}

// FailAppend makes the store refuse all frames with err, until it is nil again:
// their records fail with core.ErrUnavailable, which wraps err.
func (m *Memory) FailAppend(err error) {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	m.log.fail = err
}

// FailRows makes Put and Create fail with err, until it is nil again.
func (m *Memory) FailRows(err error) {
	m.rows.mu.Lock()
	defer m.rows.mu.Unlock()
	m.rows.fail = err
}

// Hold makes frames wait before they are stored, until Release.
func (m *Memory) Hold() {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if m.log.held == nil {
		m.log.held = make(chan struct{})
	}
}

// Release ends Hold.
func (m *Memory) Release() {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	if m.log.held != nil {
		close(m.log.held)
		m.log.held = nil
	}
}

// Remove drops the frames up to that sequence, as retention does.
func (m *Memory) Remove(upTo uint64) {
	m.log.mu.Lock()
	defer m.log.mu.Unlock()
	for m.log.first <= upTo && len(m.log.frames) > 0 {
		m.log.frames = m.log.frames[1:]
		m.log.first++
	}
}

// memLog is the stored log, which outlives the nodes that write to it.
type memLog struct {
	mu      sync.Mutex // guards all fields
	first   uint64     // sequence of frames[0]
	frames  []memFrame
	changed chan struct{} // closed by store at each new frame, and replaced
	held    chan struct{} // closed by Release; nil: not held
	fail    error
	nodes   int
}

type memFrame struct {
	subject string
	bytes   []byte
}

// last is the newest sequence. mu is held.
func (m *memLog) last() uint64 { return m.first + uint64(len(m.frames)) - 1 }

// find returns the first frame from sequence from on that subject wrote (any:
// ""). mu is held.
func (m *memLog) find(from uint64, subject string) (uint64, []byte, error) {
	for seq := max(from, m.first); seq <= m.last(); seq++ {
		f := m.frames[seq-m.first]
		if subject == "" || f.subject == subject {
			return seq, f.bytes, nil
		}
	}
	return 0, nil, errNothing
}

func (m *memLog) bounds(context.Context) (first, last uint64, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.first, m.last(), nil
}

func (m *memLog) next(_ context.Context, from uint64) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	seq, _, err := m.find(from, "")
	return seq, err
}

func (m *memLog) read(_ context.Context, seq uint64) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if seq < m.first {
		return nil, core.ErrGone
	}
	if seq > m.last() {
		return nil, core.ErrNotFound
	}
	return m.frames[seq-m.first].bytes, nil
}

// tail sends frames from a goroutine that stop waits for.
func (m *memLog) tail(ctx context.Context, from uint64) (<-chan storedFrame, func(), error) {
	ctx, cancel := context.WithCancel(ctx)
	frames := make(chan storedFrame, 16) // sent by the goroutine below, never closed
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			m.mu.Lock()
			seq, bytes, err := m.find(from, "")
			changed := m.changed
			m.mu.Unlock()
			if err != nil {
				select {
				case <-ctx.Done():
				case <-changed:
				}
				continue
			}
			select {
			case <-ctx.Done():
			case frames <- storedFrame{seq, bytes}:
				from = seq + 1
			}
		}
	}()
	return frames, func() { cancel(); <-ended }, nil
}

// memLane is the log as the lane with that subject writes it.
type memLane struct {
	*memLog
	subject string
}

func (m *memLane) add(ctx context.Context, last uint64, frame []byte) (uint64, error) {
	m.mu.Lock()
	held := m.held
	m.mu.Unlock()
	if held != nil {
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", errRefused, ctx.Err())
		case <-held:
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.fail != nil {
		return 0, fmt.Errorf("%w: %w", errRefused, m.fail)
	}
	if _, _, err := m.find(last+1, m.subject); err == nil {
		return 0, errContested
	}
	return m.store(m.subject, frame), nil
}

func (m *memLane) after(_ context.Context, last uint64) (uint64, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.find(last+1, m.subject)
}

// store appends a copy of frame. mu is held.
func (m *memLog) store(subject string, frame []byte) uint64 {
	m.frames = append(m.frames, memFrame{subject, append([]byte(nil), frame...)})
	close(m.changed)
	m.changed = make(chan struct{})
	return m.last()
}

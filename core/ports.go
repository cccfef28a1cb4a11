package core

import (
	"context"

	"pushhub/core/journal"
)

// A Journal is the log as the router needs it: one lane to append to, one tail
// to follow, frames to read again. Package bus has it on JetStream and in memory.
type Journal interface {
	// Append queues one record (copied) for this node's lane. It never blocks on
	// the store. done is called exactly once, always from the goroutine that runs
	// Follow and never from within Append: with the record's position after its
	// frame is stored and Apply has returned for it; or with an error when the
	// record is certainly not stored. A nil record is a barrier: done is called
	// once all that was queued before it has been applied. Append refuses with
	// ErrBusy or ErrStopped, and without calling done, when more than its bound
	// of bytes is queued, or it is closed.
	Append(record []byte, done func(journal.Position, error)) error

	// Follow gives the follower each frame of the log in order, from sequence
	// from (1 is the oldest; what retention has removed is skipped), and goes on
	// with what arrives until ctx ends, which is the only clean way out (nil).
	Follow(ctx context.Context, from uint64, f Follower) error

	// Read returns the frame with that sequence; ErrGone when retention removed it.
	Read(ctx context.Context, seq uint64) ([]byte, error)
}

// A Follower is called by Journal.Follow, from one goroutine.
type Follower interface {
	// Apply takes a frame, which it may keep. An error ends Follow.
	Apply(seq uint64, frame []byte) error
	// Settled is called after the done calls that followed an Apply, or that came
	// without one: what they queued may be flushed now.
	Settled()
	// CaughtUp is called once, when all that was in the log at the start has been applied.
	CaughtUp()
}

// A Row is one entry of a bucket. A nil Value deletes the row.
type Row struct {
	Key   string // any bytes; the store encodes it as it must
	Value []byte
}

// Buckets of rows.
const (
	BucketRetained = "PH_RET"
	BucketAccounts = "PH_ACCT" // and their documents, see IsDocument
	BucketNodes    = "PH_NODE" // checkpoints
)

// Rows is the small key-value store beside the log.
type Rows interface {
	// Load calls yield for every row of the bucket.
	Load(ctx context.Context, bucket string, yield func(Row) error) error
	// Put stores the rows; when it returns nil they are durable.
	Put(ctx context.Context, bucket string, rows []Row) error
	// Create stores a row that must not be there yet; ErrExists otherwise.
	Create(ctx context.Context, bucket string, row Row) error
}

package bus

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// buckets are those that core names.
var buckets = []string{core.BucketRetained, core.BucketAccounts, core.BucketNodes}

const (
	maxKeyBytes = 512
	batchRows   = 1000    // JetStream's limit of an atomic batch
	batchWorth  = 32      // rows from which one atomic batch beats an fsync a row
	batchBytes  = 4 << 20 // of values in one batch
	markerTTL   = "1h"    // how long a deleted row leaves its marker

	// Headers that JetStream and its key-value clients know.
	headerOperation  = "KV-Operation"
	headerTTL        = "Nats-TTL"
	headerBatchID    = "Nats-Batch-Id"
	headerBatchSeq   = "Nats-Batch-Sequence"
	headerBatchClose = "Nats-Batch-Commit"
)

// natsRows implements core.Rows on streams with the layout of NATS's key-value
// buckets, so that its tools can read them.
type natsRows struct {
	js      jetstream.JetStream
	streams map[string]jetstream.Stream
	turn    map[string]chan struct{} // cap 1; holds a token while a Put writes to the bucket, so that Puts keep their order
	timeout time.Duration

	syncAlways bool  // the store syncs each write
	ends       *ends // nil: the store is not ours to watch
}

func openRows(ctx context.Context, js jetstream.JetStream, o Options) (*natsRows, error) {
	r := &natsRows{
		js: js, timeout: 2 * o.attempt, syncAlways: o.SyncAlways,
		streams: map[string]jetstream.Stream{}, turn: map[string]chan struct{}{},
	}
	for _, name := range buckets {
		s, err := makeStream(ctx, js.CreateOrUpdateStream, bucketConfig(name, o.Replicas))
		if err != nil {
			return nil, err
		}
		r.streams[name] = s
		r.turn[name] = make(chan struct{}, 1)
	}
	return r, nil
}

func rowStream(bucket string) string { return "KV_" + bucket }

func bucketConfig(name string, replicas int) jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name:               rowStream(name),
		Description:        "pushhub: rows",
		Subjects:           []string{"$KV." + name + ".>"},
		Storage:            jetstream.FileStorage,
		Replicas:           replicas,
		MaxMsgsPerSubject:  1,
		Discard:            jetstream.DiscardNew,
		DenyDelete:         true,
		AllowRollup:        true,
		AllowDirect:        true,
		AllowMsgTTL:        true,
		AllowAtomicPublish: true,
	}
}

// checkRows refuses what no store takes.
func checkRows(bucket string, rows []core.Row) error {
	if !slices.Contains(buckets, bucket) {
		return fmt.Errorf("bucket %s: %w", bucket, core.ErrNotFound)
	}
	for _, r := range rows {
		if len(r.Key) == 0 || len(r.Key) > maxKeyBytes {
			return fmt.Errorf("bucket %s: a key has %d bytes, not 1 to %d", bucket, len(r.Key), maxKeyBytes)
		}
	}
	return nil
}

func rowSubject(bucket, key string) string {
	return "$KV." + bucket + "." + base64.RawURLEncoding.EncodeToString([]byte(key))
}

func rowMessage(bucket string, r core.Row) *nats.Msg {
	m := &nats.Msg{Subject: rowSubject(bucket, r.Key), Data: r.Value, Header: nats.Header{}}
	if r.Value == nil {
		m.Header.Set(headerOperation, "DEL")
		m.Header.Set(headerTTL, markerTTL)
	}
	return m
}

// Put implements core.Rows. Up to 1000 rows are under way at once, or go in one
// atomic batch where that is faster: a batch costs some milliseconds, but only
// one fsync. After an error, which wraps core.ErrUnavailable when the store gave no or a bad
// answer, none, some or all of the rows may be stored; writing them again is safe.
func (r *natsRows) Put(ctx context.Context, bucket string, rows []core.Row) error {
	if err := checkRows(bucket, rows); err != nil {
		return err
	}
	select {
	case r.turn[bucket] <- struct{}{}:
	case <-ctx.Done():
		return fmt.Errorf("writing %s: %w", bucket, ctx.Err())
	}
	defer func() { <-r.turn[bucket] }()
	for len(rows) > 0 {
		n := batchLen(rows)
		write := r.pipeline
		if r.syncAlways && n >= batchWorth {
			write = r.batch
		}
		if err := write(ctx, bucket, rows[:n]); err != nil {
			return fmt.Errorf("writing %d rows of %s: %w: %w", n, bucket, core.ErrUnavailable, err)
		}
		rows = rows[n:]
	}
	return nil
}

// batchLen is how many of the rows the next batch takes: at least one.
func batchLen(rows []core.Row) int {
	size := 0
	for i, r := range rows {
		size += len(r.Value)
		if i == batchRows || (i > 0 && size > batchBytes) {
			return i
		}
	}
	return len(rows)
}

// pipeline writes the rows one by one without waiting for each answer.
func (r *natsRows) pipeline(ctx context.Context, bucket string, rows []core.Row) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	answers := make([]jetstream.PubAckFuture, 0, len(rows))
	for _, row := range rows {
		f, err := r.js.PublishMsgAsync(rowMessage(bucket, row), jetstream.WithRetryAttempts(0))
		if err != nil {
			return err
		}
		answers = append(answers, f)
	}
	for _, f := range answers {
		select {
		case ack := <-f.Ok():
			r.ends.reached(ack.Stream, ack.Sequence)
		case err := <-f.Err():
			return err
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// batch writes at least two rows in one atomic batch (NATS ADR-50).
func (r *natsRows) batch(ctx context.Context, bucket string, rows []core.Row) error {
	last := len(rows) - 1
	id := rand.Text()
	for i, row := range rows {
		m := rowMessage(bucket, row)
		m.Header.Set(headerBatchID, id)
		m.Header.Set(headerBatchSeq, strconv.Itoa(i+1))
		if i == last {
			m.Header.Set(headerBatchClose, "1")
			return r.publish(ctx, m)
		}
		if err := r.js.Conn().PublishMsg(m); err != nil {
			return err
		}
	}
	return nil
}

// publish stores one message and waits until it is durable.
func (r *natsRows) publish(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	ack, err := r.js.PublishMsg(ctx, m)
	if err == nil {
		r.ends.reached(ack.Stream, ack.Sequence)
	}
	return err
}

// Create implements core.Rows. When it returns core.ErrUnavailable, the row may
// have been created.
func (r *natsRows) Create(ctx context.Context, bucket string, row core.Row) error {
	if err := checkRows(bucket, []core.Row{row}); err != nil {
		return err
	}
	if row.Value == nil {
		row.Value = []byte{}
	}
	expect := uint64(0)
	for range 3 { // a marker may come or go in between
		m := rowMessage(bucket, row)
		m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(expect, 10))
		err := r.publish(ctx, m)
		if err == nil {
			return nil
		}
		if !errors.Is(classify(err), errContested) {
			return fmt.Errorf("creating a row of %s: %w: %w", bucket, core.ErrUnavailable, err)
		}
		if expect, err = r.marker(ctx, bucket, row.Key); err != nil {
			return fmt.Errorf("creating a row of %s: %w", bucket, err)
		}
	}
	return fmt.Errorf("creating a row of %s: %w", bucket, core.ErrExists)
}

// marker returns the sequence of the row's marker, 0 if there is nothing, or
// core.ErrExists if there is a row.
func (r *natsRows) marker(ctx context.Context, bucket, key string) (uint64, error) {
	m, err := r.streams[bucket].GetLastMsgForSubject(ctx, rowSubject(bucket, key))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	if !isMarker(m.Header) {
		return 0, core.ErrExists
	}
	return m.Sequence, nil
}

func isMarker(h nats.Header) bool {
	return h.Get(headerOperation) != "" || h.Get("Nats-Marker-Reason") != ""
}

// Load implements core.Rows. A row that is put meanwhile may come twice, the
// newest last.
func (r *natsRows) Load(ctx context.Context, bucket string, yield func(core.Row) error) error {
	s, ok := r.streams[bucket]
	if !ok {
		return fmt.Errorf("loading %s: %w", bucket, core.ErrNotFound)
	}
	l := loading{stream: s, prefix: "$KV." + bucket + ".", yield: yield}
	if err := l.run(ctx, r.js, rowStream(bucket)); err != nil {
		return fmt.Errorf("loading %s: %w", bucket, err)
	}
	return nil
}

// loading is one run of Load. Since a bucket keeps one message a row, all its
// messages in order are its rows.
type loading struct {
	stream jetstream.Stream
	prefix string
	yield  func(core.Row) error
	want   uint64 // the next sequence
}

func (l *loading) run(ctx context.Context, js jetstream.JetStream, stream string) error {
	first, last, err := streamBounds(ctx, l.stream)
	if err != nil {
		return fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	if first > last {
		return nil
	}
	l.want = first
	messages := make(chan jetstream.Msg, 64) // sent by consume's handler, never closed
	stop, err := consume(ctx, js, stream, first, func(quit <-chan struct{}, _ uint64, m jetstream.Msg) {
		select {
		case messages <- m:
		case <-quit:
		}
	})
	if err != nil {
		return fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	defer stop()
	return l.receive(ctx, messages)
}

func (l *loading) receive(ctx context.Context, messages <-chan jetstream.Msg) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case m := <-messages:
			if done, err := l.take(m); done || err != nil {
				return err
			}
		case <-tick.C: // the last row may have been replaced or deleted meanwhile
			_, err := l.stream.GetMsg(ctx, l.want, jetstream.WithGetMsgSubject(l.prefix+">"))
			if errors.Is(err, jetstream.ErrMsgNotFound) {
				return nil
			}
		}
	}
}

// take yields one row, unless it is a marker, and reports whether it was the last.
func (l *loading) take(m jetstream.Msg) (bool, error) {
	meta, err := m.Metadata()
	if err != nil {
		return false, fmt.Errorf("a message without its place: %w", err)
	}
	l.want = meta.Sequence.Stream + 1
	// A row that is replaced meanwhile moves to the end, so the newest sequence at
	// the start is not where to stop.
	done := meta.NumPending == 0
	if isMarker(m.Headers()) {
		return done, nil
	}
	key, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(m.Subject(), l.prefix))
	if err != nil {
		return false, fmt.Errorf("the key of %s: %w", m.Subject(), err)
	}
	value := m.Data()
	if value == nil {
		value = []byte{}
	}
	return done, l.yield(core.Row{Key: string(key), Value: value})
}

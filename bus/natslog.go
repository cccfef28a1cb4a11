package bus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// Codes of JetStream's API errors.
const (
	codeWrongLastSequence         = 10071
	codeWrongLastSequenceInFlight = 10164 // an earlier attempt is still being replicated
	codeStoreFailed               = 10077
	codeNoStreamStore             = 10049 // of a stream that is made
)

// natsLog is the stream, as the lane with that subject writes it.
type natsLog struct {
	js      jetstream.JetStream
	stream  jetstream.Stream
	subject string
	timeout time.Duration // of one append
	reserve *reserve      // nil: none is kept
	ends    *ends         // nil: the store is not ours to watch

	mu      sync.Mutex // guards what follows
	cancel  context.CancelFunc
	doubted map[uint64]time.Time // frames that the leader does not find, since when
}

// interrupt gives up on the append under way, whose answer was lost with the
// connection.
func (n *natsLog) interrupt() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.cancel != nil {
		n.cancel()
	}
}

func (n *natsLog) add(ctx context.Context, last uint64, frame []byte) (uint64, error) {
	if err := n.reserve.check(time.Now()); err != nil {
		return 0, fmt.Errorf("%w: %w", errRefused, err)
	}
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	n.mu.Lock()
	n.cancel = cancel
	n.mu.Unlock()
	ack, err := n.js.PublishMsg(ctx, &nats.Msg{Subject: n.subject, Data: frame, Header: nats.Header{}},
		jetstream.WithExpectLastSequencePerSubject(last), jetstream.WithRetryAttempts(0))
	if err != nil {
		return 0, classify(err)
	}
	n.ends.reached(streamName, ack.Sequence)
	return ack.Sequence, nil
}

// classify says what is known of an append that ended in err.
func classify(err error) error {
	var api *jetstream.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode {
		case codeWrongLastSequence, codeWrongLastSequenceInFlight:
			return fmt.Errorf("%w: %w", errContested, err)
		case codeStoreFailed: // part of it may be on the disk
			return fmt.Errorf("appending a frame: %w", err)
		}
		return fmt.Errorf("%w: %w", errRefused, err)
	}
	for _, unsent := range []error{
		jetstream.ErrNoStreamResponse, nats.ErrNoResponders, nats.ErrReconnectBufExceeded,
		nats.ErrMaxPayload, nats.ErrConnectionClosed,
	} {
		if errors.Is(err, unsent) {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
	}
	return fmt.Errorf("appending a frame: %w", err)
}

func (n *natsLog) after(ctx context.Context, last uint64) (uint64, []byte, error) {
	m, err := n.from(ctx, last+1, n.subject)
	if err != nil {
		return 0, nil, err
	}
	return m.Sequence, m.Data, nil
}

func (n *natsLog) next(ctx context.Context, from uint64) (uint64, error) {
	m, err := n.from(ctx, from, subjectPrefix+">")
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

// from returns the first message on subject from sequence seq on. A replica that
// lags may answer errNothing.
func (n *natsLog) from(ctx context.Context, seq uint64, subject string) (*jetstream.RawStreamMsg, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	m, err := n.stream.GetMsg(ctx, seq, jetstream.WithGetMsgSubject(subject))
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, errNothing
	}
	return m, err
}

func (n *natsLog) bounds(ctx context.Context) (first, last uint64, err error) {
	return streamBounds(ctx, n.stream)
}

func streamBounds(ctx context.Context, s jetstream.Stream) (first, last uint64, err error) {
	info, err := s.Info(ctx)
	if err != nil {
		return 0, 0, err
	}
	if info.State.Msgs == 0 {
		return info.State.LastSeq + 1, info.State.LastSeq, nil
	}
	return info.State.FirstSeq, info.State.LastSeq, nil
}

func (n *natsLog) read(ctx context.Context, seq uint64) ([]byte, error) {
	m, err := n.stream.GetMsg(ctx, seq)
	if err == nil {
		return m.Data, nil
	}
	if !errors.Is(err, jetstream.ErrMsgNotFound) {
		return nil, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	// Any replica may have answered, and one that lags has not got the newest
	// frames: only the leader knows whether this one is gone.
	return n.readFromLeader(ctx, seq)
}

// codeNoMessage is JetStream's answer for a message that was removed, that is
// damaged, or that is not there yet.
const codeNoMessage = 10037

func (n *natsLog) readFromLeader(ctx context.Context, seq uint64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, n.timeout)
	defer cancel()
	m, err := n.js.Conn().RequestWithContext(ctx, "$JS.API.STREAM.MSG.GET."+streamName, fmt.Appendf(nil, `{"seq":%d}`, seq))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Message struct {
			Data []byte `json:"data"`
		} `json:"message"`
	}
	if err := json.Unmarshal(m.Data, &answer); err != nil {
		return nil, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	}
	if answer.Error == nil {
		return answer.Message.Data, nil
	}
	if answer.Error.ErrorCode != codeNoMessage {
		return nil, fmt.Errorf("%w: %w", core.ErrUnavailable, answer.Error)
	}
	first, last, err := n.bounds(ctx)
	switch {
	case err != nil:
		return nil, fmt.Errorf("%w: %w", core.ErrUnavailable, err)
	case seq > last:
		return nil, core.ErrNotFound
	case seq < first:
		return nil, fmt.Errorf("%w: retention has removed it", core.ErrGone)
	}
	if !n.lost(seq, time.Now()) {
		return nil, fmt.Errorf("%w: it is not found, which may pass", core.ErrUnavailable)
	}
	return nil, fmt.Errorf("%w: it is damaged", core.ErrGone)
}

const (
	// lostAfter is how long a frame must not be found before it counts as lost: a
	// store that cannot open its files says the same of all frames.
	lostAfter  = 3 * time.Second
	maxDoubted = 4096
)

// lost notes that a frame was not found, and reports whether that has lasted.
func (n *natsLog) lost(seq uint64, now time.Time) bool {
	if f, err := os.Open(os.DevNull); err != nil {
		return false // there are no descriptors to be had
	} else {
		_ = f.Close() // nothing was read
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	since, ok := n.doubted[seq]
	if !ok {
		if n.doubted == nil || len(n.doubted) >= maxDoubted {
			n.doubted = map[uint64]time.Time{}
		}
		n.doubted[seq] = now
		return false
	}
	return now.Sub(since) >= lostAfter
}

func (n *natsLog) tail(ctx context.Context, from uint64) (<-chan storedFrame, func(), error) {
	frames := make(chan storedFrame, 64) // sent by consume's handler, never closed
	stop, err := consume(ctx, n.js, streamName, from, func(quit <-chan struct{}, seq uint64, m jetstream.Msg) {
		select {
		case frames <- storedFrame{seq, m.Data()}: // the client copies each message for itself
		case <-quit:
		}
	})
	return frames, stop, err
}

// consume calls handle, from one goroutine, for the messages of a stream in
// order, from sequence from on, until the function that it returns is called.
func consume(ctx context.Context, js jetstream.JetStream, stream string, from uint64,
	handle func(quit <-chan struct{}, seq uint64, m jetstream.Msg),
) (func(), error) {
	cons, err := js.OrderedConsumer(ctx, stream, jetstream.OrderedConsumerConfig{
		DeliverPolicy:     jetstream.DeliverByStartSequencePolicy,
		OptStartSeq:       from,
		InactiveThreshold: time.Minute,
	})
	if err != nil {
		return nil, err
	}
	quit := make(chan struct{}) // closed by stop
	running, err := cons.Consume(func(m jetstream.Msg) {
		if meta, err := m.Metadata(); err == nil {
			handle(quit, meta.Sequence.Stream, m)
		}
	}, jetstream.PullMaxMessages(256), jetstream.PullHeartbeat(2*time.Second))
	if err != nil {
		return nil, err
	}
	return func() {
		close(quit)
		running.Stop()
		<-running.Closed()
	}, nil
}

package bus

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"pushhub/core"
)

// snapshot calls yield for every row of a bucket as it was at one moment: when
// nothing was left behind the last row that was read. A row that is put
// meanwhile may come more than once, the newest last. That a consumer has
// nothing pending does not say this: its count runs behind while rows are put.
func (r *natsRows) snapshot(ctx context.Context, bucket string, yield func(core.Row) error) error {
	l := &loading{stream: r.streams[bucket], prefix: "$KV." + bucket + ".", yield: yield, want: 1}
	for nothing := false; ; {
		info, err := l.stream.Info(ctx)
		if err != nil {
			return fmt.Errorf("reading %s: %w: %w", bucket, core.ErrUnavailable, err)
		}
		if info.State.LastSeq < l.want {
			return nil
		}
		_, err = l.stream.GetMsg(ctx, l.want, jetstream.WithGetMsgSubject(l.prefix+">"))
		switch {
		case err == nil:
			nothing = false
			err = l.more(ctx, r.js, rowStream(bucket))
		case errors.Is(err, jetstream.ErrMsgNotFound) && (nothing || info.Config.Replicas <= 1):
			return nil // the last rows were deleted, and their markers are gone
		case errors.Is(err, jetstream.ErrMsgNotFound): // or a replica that lags has answered
			nothing = true
			wait(ctx, checkEvery)
			err = ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("reading %s: %w", bucket, err)
		}
	}
}

// more reads on from l.want.
func (l *loading) more(ctx context.Context, js jetstream.JetStream, stream string) error {
	messages := make(chan jetstream.Msg, 64) // sent by consume's handler, never closed
	stop, err := consume(ctx, js, stream, l.want, func(quit <-chan struct{}, _ uint64, m jetstream.Msg) {
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

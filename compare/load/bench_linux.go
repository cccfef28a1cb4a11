package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"
)

// Bench raises the targets, measures every scenario on them, run by run and
// target after target so that the machine's drift hits all alike, and stops
// those it started. A run that fails is in the report and in the error; the
// others go on.
func Bench(ctx context.Context, o Options) (Report, error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	var servers []*server
	defer func() {
		for _, s := range servers {
			s.stop()
		}
	}()
	for _, t := range o.Targets {
		s, err := raise(ctx, t)
		if err != nil {
			return Report{}, err
		}
		servers = append(servers, s)
	}
	report := newReport(o)
	var failures []error
	for _, sc := range o.Scenarios {
		for n := range o.Runs {
			for _, s := range servers {
				run, err := benchOne(ctx, s, sc, o, n+1)
				if ctx.Err() != nil {
					return report, ctx.Err() // a run cut short tells nothing
				}
				report.Runs = append(report.Runs, run)
				failures = append(failures, err)
			}
		}
	}
	return report, errors.Join(failures...)
}

func benchOne(ctx context.Context, s *server, sc Scenario, o Options, n int) (Run, error) {
	run, err := measure(ctx, s, sc, o)
	run.Target, run.Scenario, run.Number = s.target.Name, sc.String(), n
	if err != nil {
		err = fmt.Errorf("target %s, %s, run %d: %w", s.target.Name, sc, n, err)
		run.Error = err.Error()
	}
	if o.Progress != nil {
		o.Progress(run)
	}
	return run, err
}

// mark is what is read at both ends of the measured window.
type mark struct {
	at        int64
	server    time.Duration
	generator time.Duration
	delivered uint64
}

// forgetTime bounds the end of a run's persistent sessions, which must go even
// when the run was cut short.
const forgetTime = 30 * time.Second

// measure runs one scenario on one server, and leaves no session there.
func measure(ctx context.Context, s *server, sc Scenario, o Options) (Run, error) {
	t := newTraffic(sc, o, rand.Text()[:10])
	run, err := drive(ctx, s, t, o)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), forgetTime)
	defer cancel()
	if forgetErr := t.forget(ctx, s.addr, o.Login); err == nil {
		err = forgetErr
	}
	return run, err
}

// drive moves a run's traffic: warm-up, window, drain.
func drive(ctx context.Context, s *server, t *traffic, o Options) (Run, error) {
	defer pin()()
	l, err := openLoop(ctx, t, s.addr, o)
	if err != nil {
		return Run{}, err
	}
	defer l.close()
	t.start(o.Rate, l.now())
	if err := l.runFor(ctx, o.Warmup); err != nil {
		return Run{}, err
	}
	before, err := l.mark(s)
	if err != nil {
		return Run{}, err
	}
	t.tally.from, t.tally.to = before.at, math.MaxInt64
	if err := l.runFor(ctx, o.Duration); err != nil {
		return Run{}, err
	}
	after, err := l.mark(s)
	if err != nil {
		return Run{}, err
	}
	t.tally.to = after.at
	if err := l.drain(ctx); err != nil {
		return Run{}, err
	}
	return newRun(&t.tally, before, after), nil
}

func (l *loop) mark(s *server) (mark, error) {
	cpu, err := s.cpu()
	return mark{
		at: l.now(), server: cpu, generator: threadCPU(), delivered: l.traffic.tally.delivered,
	}, err
}

func newRun(t *tally, before, after mark) Run {
	const us = 1000
	seconds := time.Duration(after.at - before.at).Seconds()
	return Run{
		Seconds:      seconds,
		Delivered:    after.delivered - before.delivered,
		ServerCPU:    (after.server - before.server).Seconds(),
		GeneratorCPU: (after.generator - before.generator).Seconds(),
		Sent:         t.sent,
		Lost:         t.expected - t.delivered,
		Duplicates:   t.duplicates,
		Unsent:       t.backlog,
		P50:          t.latency.Quantile(0.5) / us,
		P99:          t.latency.Quantile(0.99) / us,
		Max:          t.latency.Max() / us,
	}
}

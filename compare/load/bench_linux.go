package load

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"math"
	"time"
)

// Bench measures every scenario on every target, run by run and target after
// target so that the machine's drift hits all alike, and stops the targets that
// it started. A run that fails is in the report and in the error; the others go
// on.
func Bench(ctx context.Context, o Options) (Report, error) {
	if err := o.Check(); err != nil {
		return Report{}, err
	}
	if err := allowFiles(o.Scenarios); err != nil {
		return Report{}, err
	}
	f := newFleet(o.Targets)
	defer f.stop()
	report := newReport(o)
	var failures []error
	for _, sc := range o.Scenarios {
		if err := f.prepare(ctx, sc); err != nil {
			return report, err
		}
		unable := map[string]bool{} // targets for which the scenario is too much: once shows it
		for n := range o.Runs {
			for i, t := range o.Targets {
				if sc.TLS && t.TLSAddr == "" || unable[t.Name] {
					continue
				}
				runs, err := benchOne(ctx, f, i, sc, o, n+1)
				if ctx.Err() != nil {
					return report, ctx.Err() // a run cut short tells nothing
				}
				report.Runs = append(report.Runs, runs...)
				failures = append(failures, err)
				unable[t.Name] = err != nil && sc.alone()
			}
		}
	}
	return report, errors.Join(failures...)
}

// benchOne runs a scenario once on target i. It returns at least one run.
func benchOne(ctx context.Context, f *fleet, i int, sc Scenario, o Options, n int) ([]Run, error) {
	name := f.targets[i].Name
	var runs []Run
	s, release, err := f.take(ctx, i, sc)
	if err == nil {
		runs, err = measureKind(ctx, s, sc, o.under(sc))
		release()
	}
	if len(runs) == 0 {
		runs = []Run{{}}
	}
	for i := range runs {
		r := &runs[i]
		r.Target, r.Scenario, r.Number, r.Kind = name, sc.String(), n, sc.Kind
		if err != nil {
			err = fmt.Errorf("target %s, %s, run %d: %w", name, sc, n, err)
			r.Error = err.Error()
		}
		if o.Progress != nil {
			o.Progress(*r)
		}
	}
	return runs, err
}

// measureKind runs one scenario on one server. It returns the runs that were
// measured in full, or an error.
func measureKind(ctx context.Context, s *server, sc Scenario, o Options) ([]Run, error) {
	switch sc.Kind {
	case Connects:
		return one(measureConnects(ctx, s, sc, o))
	case Idle:
		return one(measureIdle(ctx, s, sc, o))
	case Subscriptions:
		return one(measureBeside(ctx, s, sc, o))
	case Offline:
		return measureOffline(ctx, s, sc, o)
	}
	return one(measure(ctx, s, sc, o))
}

func one(r Run, err error) ([]Run, error) {
	if err != nil {
		return nil, err
	}
	return []Run{r}, nil
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
		Reordered:    t.reordered,
		Unsent:       t.backlog,
		P50:          t.latency.Quantile(0.5) / us,
		P99:          t.latency.Quantile(0.99) / us,
		P999:         t.latency.Quantile(0.999) / us,
		Max:          t.latency.Max() / us,
	}
}

package load

import (
	"context"
	"errors"
	"fmt"
	"syscall"
)

// fleet holds the targets of a bench, those that are up and those that are not.
// Between scenarios that want a broker of their own nothing else is up, so that
// nobody's housekeeping shows in another's figures.
type fleet struct {
	targets []Target
	up      []*server // the one shared by the runs of a scenario, by target; nil when it is down
}

func newFleet(targets []Target) *fleet {
	return &fleet{targets: targets, up: make([]*server, len(targets))}
}

// prepare brings up what the scenario's runs share, and takes down what they do not.
func (f *fleet) prepare(ctx context.Context, sc Scenario) error {
	if sc.alone() {
		f.stop()
		return nil
	}
	for i, t := range f.targets {
		if f.up[i] != nil {
			continue
		}
		s, err := raise(ctx, t)
		if err != nil {
			return err
		}
		f.up[i] = s
	}
	return nil
}

// take returns target i for one run; release gives it back.
func (f *fleet) take(ctx context.Context, i int, sc Scenario) (s *server, release func(), err error) {
	if !sc.alone() {
		return f.up[i], func() {}, nil
	}
	s, err = raise(ctx, f.targets[i])
	if err != nil {
		return nil, nil, err
	}
	return s, s.stop, nil
}

// stop takes down what bench started.
func (f *fleet) stop() {
	for i, s := range f.up {
		if s != nil {
			s.stop()
			f.up[i] = nil
		}
	}
}

// spareFiles is what a process opens beside its connections.
const spareFiles = 500

// allowFiles lets this process, and with it the targets that it starts, open
// as many files as the largest scenario has connections.
func allowFiles(scenarios []Scenario) error {
	var need uint64
	for _, s := range scenarios {
		need = max(need, uint64(s.connections())+spareFiles)
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return fmt.Errorf("reading the limit of open files: %w", err)
	}
	if limit.Cur >= need && limit.Cur == limit.Max {
		return nil
	}
	// Set even when it suffices here: a limit that was never set is not passed
	// on to a started target, which may begin with a lower one.
	limit.Cur, limit.Max = max(need, limit.Max), max(need, limit.Max)
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return errors.Join(fmt.Errorf("%d open files are needed: ulimit -Hn is too low", need), err)
	}
	return nil
}

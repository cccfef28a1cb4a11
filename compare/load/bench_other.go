//go:build !linux

package load

import (
	"context"
	"errors"
	"syscall"
)

// Bench needs epoll and /proc, hence Linux.
func Bench(context.Context, Options) (Report, error) {
	return Report{}, errors.New("bench runs on Linux only: it reads epoll and /proc")
}

// Relay needs epoll, hence Linux.
func Relay(context.Context, string) error {
	return errors.New("the relay runs on Linux only")
}

func portAtConnect(string, string, syscall.RawConn) error { return nil }

//go:build !linux

package load

import (
	"context"
	"errors"
)

// Bench needs epoll and /proc, hence Linux.
func Bench(context.Context, Options) (Report, error) {
	return Report{}, errors.New("bench runs on Linux only: it reads epoll and /proc")
}

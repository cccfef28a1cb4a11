package main

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
)

// listenUnix opens a unix socket for the hub's user and group. One that a hub
// left behind when it died is removed; what is in use, or no socket, is not. The
// listener removes the socket when it is closed.
func listenUnix(path string) (net.Listener, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return nil, err
	case info.Mode().Type() != fs.ModeSocket:
		return nil, fmt.Errorf("%s is there and is not a socket", path)
	default:
		if err := removeStale(path); err != nil {
			return nil, err
		}
	}
	// The mode holds from the first moment; nothing else makes files while the listeners open.
	before := syscall.Umask(0o117)
	ln, err := net.Listen("unix", path)
	syscall.Umask(before)
	return ln, err
}

// removeStale removes a socket that nobody listens on.
func removeStale(path string) error {
	conn, err := net.Dial("unix", path)
	if err == nil {
		conn.Close()
		return fmt.Errorf("%s: %w", path, syscall.EADDRINUSE)
	}
	if !errors.Is(err, syscall.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}

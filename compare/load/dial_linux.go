package load

import (
	"syscall"

	"golang.org/x/sys/unix"
)

// portAtConnect has the kernel choose the port for the pair of addresses, not
// for the source alone.
func portAtConnect(_, _ string, raw syscall.RawConn) error {
	var setErr error
	err := raw.Control(func(fd uintptr) {
		setErr = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if err != nil {
		return err
	}
	return setErr
}

// Package proxyproto reads the header that a proxy puts before the bytes of a
// connection, to say whose they are: the PROXY protocol of HAProxy, versions 1
// and 2. It reads the header's bytes and not one more, so that the connection can
// be used as if there had been none. It must never wait by itself: the deadline
// is its caller's.
package proxyproto

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// ErrHeader is why a connection does not begin with a header that can be used.
var ErrHeader = errors.New("not a PROXY header")

// The bounds of a header, in bytes.
const (
	maxV1 = 107      // §2.1: the longest line there can be
	maxV2 = 4 << 10  // the protocol allows 64 KiB, for certificates that nobody reads here
	fixed = 16       // of version 2: signature, command, family, length
	sure  = 12       // both versions are at least as long
	crlf  = "\r\n"   // the end of version 1
	line  = "PROXY " // its beginning
)

var signature = []byte("\r\n\r\n\x00\r\nQUIT\n") // §2.2

// Read takes a header from the beginning of r. from is the address that the
// proxy was connected from; nil says that the connection is the proxy's own (a
// health check) or that it does not know, and that the address of the socket
// counts.
func Read(r io.Reader) (from net.Addr, err error) {
	head := make([]byte, sure, maxV1)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	switch {
	case bytes.Equal(head, signature):
		return readV2(r, head)
	case bytes.HasPrefix(head, []byte(line)):
		return readV1(r, head)
	}
	return nil, fmt.Errorf("%w: it begins with %q", ErrHeader, head)
}

// readV1 reads to the end of the line a byte at a time, or two where two are
// sure to come: what follows is the client's.
func readV1(r io.Reader, head []byte) (net.Addr, error) {
	for !bytes.HasSuffix(head, []byte(crlf)) {
		more := 2
		if head[len(head)-1] == '\r' {
			more = 1
		}
		if len(head)+more > maxV1 {
			return nil, fmt.Errorf("%w: the line is longer than %d bytes", ErrHeader, maxV1)
		}
		if bytes.IndexByte(head, '\n') >= 0 {
			return nil, fmt.Errorf("%w: the line ends without CR", ErrHeader)
		}
		n := len(head)
		head = head[:n+more]
		if _, err := io.ReadFull(r, head[n:]); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrHeader, err)
		}
	}
	return parseV1(string(head[len(line) : len(head)-len(crlf)]))
}

// parseV1 reads what stands between PROXY and the end of the line.
func parseV1(text string) (net.Addr, error) {
	field := strings.Split(text, " ")
	if field[0] == "UNKNOWN" {
		return nil, nil // §2.1: whatever else stands there
	}
	if len(field) != 5 || field[0] != "TCP4" && field[0] != "TCP6" {
		return nil, fmt.Errorf("%w: %q", ErrHeader, text)
	}
	four := field[0] == "TCP4"
	from, err := addrPort(field[1], field[3], four)
	if err == nil {
		_, err = addrPort(field[2], field[4], four)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return net.TCPAddrFromAddrPort(from), nil
}

func addrPort(host, port string, four bool) (netip.AddrPort, error) {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if addr.Is4() != four || addr.Zone() != "" {
		return netip.AddrPort{}, fmt.Errorf("%q is of another family", host)
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil || strconv.FormatUint(n, 10) != port {
		return netip.AddrPort{}, fmt.Errorf("%q is not a port", port)
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(n)), nil
}

// The parts of a version 2 header, §2.2.
const (
	cmdLocal = 0x20
	cmdProxy = 0x21

	famUnspec = 0x0
	famInet   = 0x1
	famInet6  = 0x2
	famUnix   = 0x3

	protoStream = 0x1
	protoDgram  = 0x2

	unixPath = 108
	typeCRC  = 0x03 // PP2_TYPE_CRC32C
)

func readV2(r io.Reader, head []byte) (net.Addr, error) {
	head = head[:fixed]
	if _, err := io.ReadFull(r, head[sure:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	size := fixed + int(binary.BigEndian.Uint16(head[14:]))
	if size > maxV2 {
		return nil, fmt.Errorf("%w: it has %d bytes, more than %d", ErrHeader, size, maxV2)
	}
	whole := make([]byte, size)
	copy(whole, head)
	if _, err := io.ReadFull(r, whole[fixed:]); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrHeader, err)
	}
	return parseV2(whole)
}

// parseV2 reads a whole header.
func parseV2(whole []byte) (net.Addr, error) {
	command, family, proto := whole[12], whole[13]>>4, whole[13]&0xF
	if command != cmdLocal && command != cmdProxy {
		return nil, fmt.Errorf("%w: version and command %#x", ErrHeader, command)
	}
	if family > famUnix || proto > protoDgram {
		return nil, fmt.Errorf("%w: family and protocol %#x", ErrHeader, whole[13])
	}
	size := [...]int{famUnspec: 0, famInet: 2*4 + 4, famInet6: 2*16 + 4, famUnix: 2 * unixPath}[family]
	body := whole[fixed:]
	if command == cmdLocal || family == famUnspec {
		return nil, checkSum(whole, size) // §2.2: the addresses are discarded
	}
	if len(body) < size {
		return nil, fmt.Errorf("%w: %d bytes of addresses are too few", ErrHeader, len(body))
	}
	if err := checkSum(whole, size); err != nil || proto != protoStream {
		return nil, err
	}
	switch family {
	case famInet:
		return tcp(body[:4], body[8:]), nil
	case famInet6:
		return tcp(body[:16], body[32:]), nil
	}
	path, _, _ := bytes.Cut(body[:unixPath], []byte{0})
	return &net.UnixAddr{Net: "unix", Name: string(path)}, nil
}

func tcp(addr, port []byte) net.Addr {
	ip, _ := netip.AddrFromSlice(addr)
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(ip.Unmap(), binary.BigEndian.Uint16(port)))
}

// checkSum walks over the TLVs behind the addresses, and checks the one that
// holds a checksum of the header, §2.2.3.
func checkSum(whole []byte, addresses int) error {
	at := fixed + addresses
	if at > len(whole) {
		return nil // LOCAL: what is there means nothing
	}
	local := whole[12] == cmdLocal
	for at < len(whole) {
		if len(whole)-at < 3 {
			return malformed(local)
		}
		kind, size := whole[at], int(binary.BigEndian.Uint16(whole[at+1:]))
		value := whole[at+3:]
		if size > len(value) {
			return malformed(local)
		}
		if kind == typeCRC {
			if size != 4 {
				return malformed(local)
			}
			told := binary.BigEndian.Uint32(value)
			clear(value[:4])
			if crc32.Checksum(whole, crc32.MakeTable(crc32.Castagnoli)) != told {
				return fmt.Errorf("%w: the checksum is wrong", ErrHeader)
			}
			return nil
		}
		at += 3 + size
	}
	return nil
}

// malformed is nothing in a LOCAL header, whose contents are to be discarded.
func malformed(local bool) error {
	if local {
		return nil
	}
	return fmt.Errorf("%w: its TLVs are cut off", ErrHeader)
}

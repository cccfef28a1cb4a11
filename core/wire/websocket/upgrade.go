package websocket

import (
	"bufio"
	"bytes"
	"crypto/sha1" //nolint:gosec // RFC 6455 §1.3: it guards nothing
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"
)

// Options say which requests are upgraded.
type Options struct {
	// Path is the only path there is.
	Path string
	// Protocols are the subprotocols, of which a client must offer one; of several,
	// the one that stands first here is chosen.
	Protocols []string
	// Origins are the pages that may connect besides those of the same host and
	// port: "https://example.org", or "*" for all. Clients that are no browsers send no Origin.
	Origins []string
}

// A Refusal is the answer to a request that is not upgraded.
type Refusal struct {
	Status int    // of HTTP
	Why    string // for a person
}

func (r *Refusal) Error() string {
	return fmt.Sprintf("websocket: refused with %d: %s", r.Status, r.Why)
}

const (
	maxRequest = 8 << 10 // bytes of a request's line and headers
	lingering  = 64 << 10
)

// upgrade answers the client's request.
func (c *Conn) upgrade() error {
	if err := c.nc.SetDeadline(time.Now().Add(upgradeTime)); err != nil {
		return err
	}
	from := &source{from: c.nc, left: maxRequest}
	in := bufio.NewReaderSize(from, maxRequest)
	req, err := http.ReadRequest(in)
	if err != nil {
		return c.unreadable(from)
	}
	protocol, refusal := c.opt.check(req)
	if refusal != nil {
		c.refuse(refusal)
		return refusal
	}
	if c.early, err = io.ReadAll(io.LimitReader(in, int64(in.Buffered()))); err != nil {
		return err
	}
	answer := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + accept(req.Header.Get("Sec-WebSocket-Key")) + "\r\n" +
		"Sec-WebSocket-Protocol: " + protocol + "\r\n\r\n" // [MQTT-6.0.0-4]
	if err := c.welcome(answer); err != nil {
		return err
	}
	return c.nc.SetDeadline(time.Time{})
}

// A source is what a request is read from: bounded, and it keeps apart what went
// wrong with the connection from what is wrong with the request.
type source struct {
	from io.Reader
	left int // bytes
	err  error
}

func (s *source) Read(p []byte) (n int, err error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	n, s.err = s.from.Read(p[:min(len(p), s.left)])
	s.left -= n
	return n, s.err
}

// unreadable answers what is no request of HTTP.
func (c *Conn) unreadable(in *source) error {
	refusal := &Refusal{http.StatusBadRequest, "this is not a request of HTTP/1.1"}
	switch {
	case in.left == 0:
		refusal = &Refusal{http.StatusRequestHeaderFieldsTooLarge, fmt.Sprintf("a request has at most %d bytes", maxRequest)}
	case errors.Is(in.err, os.ErrDeadlineExceeded):
		refusal = &Refusal{http.StatusRequestTimeout, "the request did not come in time"}
		_ = c.nc.SetDeadline(time.Now().Add(partingTime))
	case in.err != nil:
		return in.err
	}
	c.refuse(refusal)
	return refusal
}

// refuse writes the answer, and waits a little for the client to have read it:
// closing a socket with unread bytes would take it back.
func (c *Conn) refuse(r *Refusal) {
	extra := ""
	switch r.Status {
	case http.StatusUpgradeRequired:
		extra = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" // RFC 9110 §15.5.22, RFC 6455 §4.4
	case http.StatusMethodNotAllowed:
		extra = "Allow: GET\r\n"
	}
	text := r.Why + "\n"
	_, err := fmt.Fprintf(c.nc, "HTTP/1.1 %d %s\r\n%sContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s",
		r.Status, http.StatusText(r.Status), extra, len(text), text)
	half, ok := c.nc.(interface{ CloseWrite() error })
	if err != nil || !ok || half.CloseWrite() != nil {
		return
	}
	_ = c.nc.SetReadDeadline(time.Now().Add(partingTime))
	_, _ = io.CopyN(io.Discard, c.nc, lingering)
}

// check tells which subprotocol a request is upgraded to, or why not.
func (o *Options) check(req *http.Request) (protocol string, refusal *Refusal) {
	h := req.Header
	key, err := base64.StdEncoding.DecodeString(h.Get("Sec-WebSocket-Key"))
	switch {
	case req.URL.Path != o.Path:
		return "", &Refusal{http.StatusNotFound, "WebSocket is at " + o.Path}
	case req.Method != http.MethodGet:
		return "", &Refusal{http.StatusMethodNotAllowed, "WebSocket begins with GET"}
	case !req.ProtoAtLeast(1, 1):
		return "", &Refusal{http.StatusBadRequest, "WebSocket needs HTTP/1.1"}
	case !hasToken(h, "Connection", "upgrade"), !hasToken(h, "Upgrade", "websocket"):
		return "", &Refusal{http.StatusUpgradeRequired, "this is a WebSocket"}
	case h.Get("Sec-WebSocket-Version") != "13":
		return "", &Refusal{http.StatusUpgradeRequired, "WebSocket version 13 is spoken here"}
	case err != nil || len(key) != 16 || len(h.Values("Sec-WebSocket-Key")) != 1:
		return "", &Refusal{http.StatusBadRequest, "Sec-WebSocket-Key is not one"}
	case req.ContentLength != 0, len(req.TransferEncoding) > 0:
		return "", &Refusal{http.StatusBadRequest, "the request has a body"}
	case !o.mayConnect(req):
		return "", &Refusal{http.StatusForbidden, fmt.Sprintf("pages of %.200q may not connect", h.Get("Origin"))}
	}
	for _, p := range o.Protocols {
		if hasToken(h, "Sec-WebSocket-Protocol", p) {
			return p, nil
		}
	}
	return "", &Refusal{http.StatusBadRequest, "Sec-WebSocket-Protocol must be " + strings.Join(o.Protocols, " or ")} // [MQTT-6.0.0-3]
}

// mayConnect checks the Origin, by which a browser names the page that connects
// (RFC 6455 §10.2).
func (o *Options) mayConnect(req *http.Request) bool {
	origins := req.Header.Values("Origin")
	if len(origins) == 0 || slices.Contains(o.Origins, "*") {
		return true
	}
	if len(origins) > 1 {
		return false
	}
	if slices.ContainsFunc(o.Origins, func(known string) bool { return strings.EqualFold(known, origins[0]) }) {
		return true
	}
	page, err := url.Parse(origins[0])
	if err != nil || page.Host == "" {
		return false
	}
	// Some clients write the port that goes without saying, and not in both places.
	usual := map[string]string{"http": ":80", "https": ":443"}[page.Scheme]
	return strings.EqualFold(strings.TrimSuffix(page.Host, usual), strings.TrimSuffix(req.Host, usual))
}

// hasToken looks for a token in a header that is a list with commas.
func hasToken(h http.Header, name, token string) bool {
	for _, value := range h.Values(name) {
		for part := range strings.SplitSeq(value, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// accept is the proof that the request was understood, RFC 6455 §4.2.2.
func accept(key string) string {
	sum := sha1.Sum(bytes.Join([][]byte{[]byte(key), []byte("258EAFA5-E914-47DA-95CA-C5AB0DC85B11")}, nil)) //nolint:gosec // see above
	return base64.StdEncoding.EncodeToString(sum[:])
}

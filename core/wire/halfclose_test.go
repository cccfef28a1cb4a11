package wire

import (
	"net"
	"testing"
	"time"
)

// Data and the end of the stream often arrive together, as one event of the
// poller: reading the data must not be the end of that.
func TestEndThatComesWithDataIsSeen(t *testing.T) {
	s := serve(t, Options{}, echoLines)
	for range 200 {
		conn, err := net.Dial("tcp", s.addr)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		h := <-s.handlers
		select {
		case <-h.closed:
		case <-time.After(2 * time.Second):
			t.Fatal("the connection was not closed")
		}
	}
}

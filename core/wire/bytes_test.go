package wire

import "testing"

func TestBytesOfConnectionsThatLiveAndThatHaveEnded(t *testing.T) {
	s := serve(t, Options{}, echoLines)
	for range 3 {
		c := s.dial(t)
		write(t, c, "one\n")
		expect(t, c, "one\n")
		c.Close()
		h := <-s.handlers
		<-h.closed
	}
	c := s.dial(t)
	write(t, c, "two\nthr")
	expect(t, c, "two\n")
	waitFor(t, func() bool { return s.Bytes() == Moved{Read: 3*4 + 7, Written: 4 * 4} })
	if n := s.Accepted(); n != 4 {
		t.Errorf("%d connections were accepted", n)
	}
}

package wire

// Moved are bytes that went through sockets.
type Moved struct{ Read, Written uint64 }

func (m *Moved) add(c *Conn) {
	in, out := c.Bytes()
	m.Read += in
	m.Written += out
}

// Bytes is what all connections have read and written since the start. It visits
// each of them: nothing is counted per message, and no counter is shared.
func (s *Server) Bytes() Moved {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := s.past
	for c := range s.conns {
		sum.add(c)
	}
	return sum
}

// Accepted is how many connections there have been.
func (s *Server) Accepted() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.accepted
}

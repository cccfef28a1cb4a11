package device

import (
	"fmt"
	"time"

	"pushhub/xmppfront/framer"
)

// read is the device's reading goroutine; it ends with the stream.
func (s *stream) read() {
	defer close(s.done)
	defer close(s.incoming)
	for {
		ev, err := s.part()
		if err == nil {
			err = s.handle(ev)
		}
		if err != nil {
			s.lost(err)
			return
		}
	}
}

func (s *stream) handle(ev framer.Event) error {
	if ev.Kind == framer.StreamClose {
		return fmt.Errorf("%w by the server", ErrClosed)
	}
	if ev.Kind != framer.WholeStanza {
		return fmt.Errorf("%w: a second stream header", ErrProtocol)
	}
	st := new(framer.Stanza) // it goes out with its bytes
	if err := framer.Parse(append([]byte(nil), ev.Raw...), framer.NSClient, st); err != nil {
		return fmt.Errorf("%w: %w", ErrProtocol, err)
	}
	switch string(st.Name) {
	case "message", "presence":
		s.deliver(eventsOf(st, time.Now())...)
	case "iq":
		return s.iq(st)
	case "error":
		if string(st.Space) == nsStreams {
			return streamError(st.Element)
		}
	}
	return nil // RFC 6120 §8.4: what is not understood is passed over
}

func (s *stream) iq(st *framer.Stanza) error {
	if t := string(st.Type); t == "result" || t == "error" {
		s.mu.Lock()
		c := s.waiting[string(st.ID)]
		delete(s.waiting, string(st.ID))
		s.mu.Unlock()
		if c != nil {
			c <- reply{stanza: st}
		}
		return nil
	}
	if e, ok := notificationOf(st, time.Now()); ok {
		s.deliver(e)
	}
	if xml := s.answer(st); xml != "" {
		return s.say(xml)
	}
	return nil
}

// deliver hands events on; it waits when nobody receives. Once the stream is
// being closed, what does not fit is dropped, so that its end can be read.
func (s *stream) deliver(events ...Event) {
	for _, e := range events {
		select {
		case s.incoming <- e:
		default: // full
			select {
			case s.incoming <- e:
			case <-s.stop:
			}
		}
	}
}

// attr appends an attribute, or nothing when value is empty.
func attr(b []byte, name, value string) []byte {
	if value == "" {
		return b
	}
	b = append(append(append(b, ' '), name...), "='"...)
	return append(framer.AppendEscapedAttr(b, value), '\'')
}

// text appends <name>value</name>.
func text(b []byte, name, value string) []byte {
	b = append(append(append(b, '<'), name...), '>')
	b = framer.AppendEscapedText(b, value)
	return append(append(append(b, "</"...), name...), '>')
}

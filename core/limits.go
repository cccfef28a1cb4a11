package core

import (
	"fmt"
	"strings"

	"pushhub/core/topic"
)

// checkSize holds a topic name or filter to the operator's limits, which are never
// wider than package topic's own. The hub's own trees are exempt: their names are
// made of account names, which have their own bounds.
func checkSize[S string | []byte](r *Router, name S) error {
	if len(name) > 0 && name[0] == '$' {
		return nil
	}
	if len(name) > r.opt.TopicBytes {
		return fmt.Errorf("%w: it is longer than %d bytes", ErrBadTopic, r.opt.TopicBytes)
	}
	if r.opt.TopicLevels < topic.MaxLevels && levels(name) > r.opt.TopicLevels {
		return fmt.Errorf("%w: it has more than %d levels", ErrBadTopic, r.opt.TopicLevels)
	}
	return nil
}

func levels[S string | []byte](name S) int { return strings.Count(string(name), "/") + 1 }

// reserve takes places for those filters of a SUBSCRIBE that the session does not
// have, and reports which they are. Where there is no place left, results says
// ErrQuota. A durable session gets a filter only when the journal has it: until
// then the places that held names are taken, and free gives them back.
func (s *Session) reserve(subs []Subscription, results []error) (fresh []bool, held []string) {
	fresh = make([]bool, len(subs))
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.placesTaken()
	for i, sub := range subs {
		if results[i] != nil || s.hasLocked(sub.Filter) {
			continue
		}
		fresh[i] = true
		if s.asked[sub.Filter] == 0 {
			if taken >= s.r.opt.Subscriptions {
				s.r.Counters.OverSubscribed.Add(1)
				results[i] = fmt.Errorf("%w: %d subscriptions", ErrQuota, taken)
				continue
			}
			taken++
		}
		if s.asked == nil {
			s.asked = map[string]int{}
		}
		s.asked[sub.Filter]++
		held = append(held, sub.Filter)
	}
	return fresh, held
}

// placesTaken counts each filter once, those too that were applied while their
// place is still held. The caller holds mu.
func (s *Session) placesTaken() int {
	n := s.state.Len()
	if !s.durable {
		n = len(s.subs)
	}
	for filter := range s.asked {
		if !s.hasLocked(filter) {
			n++
		}
	}
	return n
}

// free gives places back: their filters are the session's now, or were refused.
func (s *Session) free(held []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, filter := range held {
		if s.asked[filter]--; s.asked[filter] <= 0 {
			delete(s.asked, filter)
		}
	}
	if len(s.asked) == 0 {
		s.asked = nil
	}
}

// Package presence owns who is there and who may see it: the devices of each
// account, and the subscription states of RFC 6121, appendix A. It is pure.
package presence

// Kind is the type of a presence, RFC 6121 §4.7.1.
type Kind uint8

const (
	Available Kind = iota
	Unavailable
	Subscribe
	Subscribed
	Unsubscribe
	Unsubscribed
)

// A State is one side of a presence subscription, as an account's roster holds
// it of a contact.
type State struct {
	To        bool // the account sees the contact
	From      bool // the contact sees the account
	Ask       bool // the account asked to see the contact and waits
	PendingIn bool // the contact asked to see the account and waits
	Approved  bool // the account approves before it is asked
}

// A Step is what follows from a presence of one of the four subscription kinds.
type Step struct {
	State   State // afterwards
	Deliver bool  // hand it on: outbound to the contact, inbound to the account's devices
	Push    bool  // the roster item changed: tell the account's devices
	Reply   Kind  // inbound: answer the sender with this in the account's name
	Replies bool  // whether there is a Reply
}

// Outbound is the step of the account that sends kind to a contact, RFC 6121 appendix A.2.
func Outbound(kind Kind, s State) Step {
	was := s
	deliver := true
	switch kind {
	case Subscribe: // A.2.1
		s.Ask = !s.To
	case Unsubscribe: // A.2.2
		s.To, s.Ask = false, false
	case Subscribed: // A.2.3
		deliver = s.PendingIn
		s.Approved = s.Approved || (!s.PendingIn && !s.From) // RFC 6121 §3.4
		s.From, s.PendingIn = s.From || s.PendingIn, false
	case Unsubscribed: // A.2.4
		deliver = s.From || s.PendingIn
		s.From, s.PendingIn, s.Approved = false, false, false
	default:
		return Step{State: s}
	}
	return Step{State: s, Deliver: deliver, Push: s.visible() != was.visible()}
}

// Inbound is the step of the account that a contact sent kind to, RFC 6121 appendix A.3.
func Inbound(kind Kind, s State) Step {
	was := s
	step := Step{}
	switch kind {
	case Subscribe: // A.3.1
		switch {
		case s.From:
			step.Reply, step.Replies = Subscribed, true
		case s.Approved:
			s.From, s.Approved = true, false
			step.Reply, step.Replies = Subscribed, true
		default:
			step.Deliver = !s.PendingIn
			s.PendingIn = true
		}
	case Unsubscribe: // A.3.2
		step.Deliver = s.From
		s.From, s.PendingIn = false, false
	case Subscribed: // A.3.3
		step.Deliver = s.Ask
		s.To, s.Ask = s.To || s.Ask, false
	case Unsubscribed: // A.3.4
		step.Deliver = s.To || s.Ask
		s.To, s.Ask = false, false
	}
	step.State, step.Push = s, s.visible() != was.visible()
	return step
}

// visible is the part of the state that a roster item shows: a request that only
// came in is no item, RFC 6121 §3.1.3.
func (s State) visible() State {
	s.PendingIn = false
	return s
}

package qos

// A Reply is the kind of answer that a publisher waits for.
type Reply uint8

const (
	ReplyAck      Reply = iota // QoS 1: PUBACK
	ReplyReceived              // QoS 2, first half: PUBREC
	ReplyComplete              // QoS 2, second half: PUBCOMP
)

// failure is the first reason code that says no, MQTT 5 §2.4.
const failure = 0x80

// An Answer is due to a publisher.
type Answer struct {
	Packet uint16
	Kind   Reply
	Code   uint8 // MQTT 5 reason code
}

// A Ring holds the answers that are owed to one publisher, in the order in which
// it asked for them. The work behind them completes in any order; answers leave
// in the order of asking, as MQTT demands [MQTT-4.6.0-2] [MQTT-4.6.0-3]. The zero
// value, after SetMax, is ready.
type Ring struct {
	slots     []slot // a power of two of them; the slot of token t is t mod len
	head      uint64 // token of the oldest answer
	tail      uint64 // token that Push gives next
	max       int
	publishes int                 // answers in the ring that a PUBLISH waits for
	held      map[uint16]struct{} // QoS 2: answered by PUBREC, not yet by PUBCOMP; nil: not tracked
	track     bool
}

type slot struct {
	answer Answer
	done   bool
}

// smallRing is how many slots a ring starts with.
const smallRing = 8

// SetMax bounds the answers that may be owed at once. With track, Open counts the
// QoS 2 publications that wait for their release as well, as MQTT 5's Receive
// Maximum does (§4.9); the caller then bounds Open, and with it the memory.
func (r *Ring) SetMax(n int, track bool) {
	r.max, r.track = n, track
	if r.tail == 0 {
		r.head, r.tail = 1, 1 // no token is 0
	}
}

// Len is how many answers are owed.
func (r *Ring) Len() int { return int(r.tail - r.head) }

// Room reports whether one more fits.
func (r *Ring) Room() bool { return r.Len() < r.max }

// Open is how many publications count against the receive maximum.
func (r *Ring) Open() int { return r.publishes + len(r.held) }

// Push notes that an answer is owed, and returns the token by which Complete
// knows it; ok is false when there is no room. Tokens count up from 1.
func (r *Ring) Push(packet uint16, kind Reply) (token uint64, ok bool) {
	if !r.Room() {
		return 0, false
	}
	if r.Len() == len(r.slots) {
		r.grow()
	}
	token = r.tail
	r.tail++
	*r.at(token) = slot{answer: Answer{Packet: packet, Kind: kind}}
	if kind != ReplyComplete {
		r.publishes++
	}
	return token, true
}

// Drop takes the newest Push back, because its work was refused and will be
// tried again. Any other token is ignored.
func (r *Ring) Drop(token uint64) {
	if r.Len() == 0 || token != r.tail-1 || r.at(token).done {
		return
	}
	r.tail--
	if r.at(token).answer.Kind != ReplyComplete {
		r.publishes--
	}
}

// Kind is what kind of answer a token stands for; false if it is not owed.
func (r *Ring) Kind(token uint64) (Reply, bool) {
	if token < r.head || token >= r.tail {
		return 0, false
	}
	return r.at(token).answer.Kind, true
}

// Complete says that the work behind a token is done, with that reason code. It
// reports false for a token that is not owed, or was completed before.
func (r *Ring) Complete(token uint64, code uint8) bool {
	if token < r.head || token >= r.tail || r.at(token).done {
		return false
	}
	s := r.at(token)
	s.done, s.answer.Code = true, code
	return true
}

// Ready reports whether Take has something to give.
func (r *Ring) Ready() bool { return r.head != r.tail && r.at(r.head).done }

// Take removes the oldest answer, if its work is done.
func (r *Ring) Take() (Answer, bool) {
	if !r.Ready() {
		return Answer{}, false
	}
	a := r.at(r.head).answer
	r.head++
	if a.Kind != ReplyComplete {
		r.publishes--
	}
	r.hold(a)
	return a, true
}

func (r *Ring) hold(a Answer) {
	if !r.track {
		return
	}
	switch {
	case a.Kind == ReplyComplete:
		delete(r.held, a.Packet)
	case a.Kind == ReplyReceived && a.Code < failure:
		if r.held == nil {
			r.held = map[uint16]struct{}{}
		}
		r.held[a.Packet] = struct{}{}
	}
}

// Trim gives the memory of an empty ring back; call it when the publisher is idle.
func (r *Ring) Trim() {
	if r.Len() == 0 && len(r.slots) > smallRing {
		r.slots = nil
	}
}

func (r *Ring) at(token uint64) *slot { return &r.slots[token&uint64(len(r.slots)-1)] }

func (r *Ring) grow() {
	old := *r
	r.slots = make([]slot, max(smallRing, 2*len(old.slots)))
	for t := r.head; t != r.tail; t++ {
		*r.at(t) = *old.at(t)
	}
}

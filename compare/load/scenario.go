package load

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Kind is what a scenario measures.
type Kind byte

// The kinds of scenario.
const (
	Messages      Kind = iota // messages through the broker, saturated, paced or one at a time
	Connects                  // connections made and ended, as many as the broker takes
	Idle                      // memory that connections take which say nothing
	Subscriptions             // messages beside subscriptions that match none of them
	Offline                   // messages kept for sessions that are away, and handed over
)

// Scenario is what is done to a broker. N publishers to N subscribers are N
// pairs on their own topics; many to one and one to many share one topic.
type Scenario struct {
	Kind        Kind
	QoS         byte
	Publishers  int
	Subscribers int
	Persistent  bool    // subscribers keep their sessions: the broker owes them every message
	Rate        float64 // messages a second in total; 0: as the options say
	Window      int     // messages on their way in a group; 0: as the options say
	Count       int     // connections under way or held, or idle subscriptions
	Each        int     // messages kept for each session
	TLS         bool    // connections to the target's TLS address
}

// pairsOfGrowth is how many pairs talk beside the idle subscriptions.
const pairsOfGrowth = 10

// holders is how many connections hold the idle subscriptions.
const holders = 250

// maxSubscriptions bounds the growth scenario: the filters are made up as they
// are sent, so that the broker alone has to hold them.
const maxSubscriptions = 10_000_000

// maxStored bounds what an offline scenario makes a broker keep.
const maxStored = 10_000_000

var (
	messagesName = regexp.MustCompile(`^q([012])(p?)-([1-9][0-9]{0,5})-([1-9][0-9]{0,5})(?:@([1-9][0-9]{0,7})|/([1-9][0-9]{0,5}))?$`)
	countsName   = regexp.MustCompile(`^(connect|idle|subs|offline)-([1-9][0-9]{0,7})(?:-([1-9][0-9]{0,5}))?(-tls)?$`)
)

// ParseScenario reads a name such as q0-50-50: QoS, publishers, subscribers.
// q1p-50-50 has persistent sessions, q0-10-10@5000 is paced at 5,000 messages a
// second, q0-50-50/1 has one message under way in each pair. connect-50,
// idle-10000[-tls], subs-1000 and offline-200-100 are the other kinds.
func ParseScenario(name string) (Scenario, error) {
	if m := messagesName.FindStringSubmatch(name); m != nil {
		return parseMessages(name, m)
	}
	if m := countsName.FindStringSubmatch(name); m != nil {
		return parseCounts(name, m)
	}
	return Scenario{}, fmt.Errorf("scenario %q is not q<QoS>[p]-<publishers>-<subscribers>[@<rate>|/<window>], as q0-50-50 or q1p-20-20, "+
		"nor connect-<n>, idle-<n>[-tls], subs-<n>, offline-<sessions>-<messages>", name)
}

func parseMessages(name string, m []string) (Scenario, error) {
	pubs, subs := number(m[3]), number(m[4])
	if pubs != subs && pubs != 1 && subs != 1 {
		return Scenario{}, fmt.Errorf("scenario %q: counts must be equal (pairs), or one of them 1", name)
	}
	if pubs+subs > maxClients {
		return Scenario{}, fmt.Errorf("scenario %q: more than %d clients", name, maxClients)
	}
	s := Scenario{
		QoS: m[1][0] - '0', Publishers: pubs, Subscribers: subs, Persistent: m[2] != "",
		Rate: float64(number(m[5])), Window: number(m[6]),
	}
	switch {
	case s.Persistent && s.QoS == 0:
		return Scenario{}, fmt.Errorf("scenario %q: a persistent session keeps nothing at QoS 0", name)
	case s.Rate > maxRate:
		return Scenario{}, fmt.Errorf("scenario %q: more than %d messages a second", name, maxRate)
	}
	return s, nil
}

func parseCounts(name string, m []string) (Scenario, error) {
	s := Scenario{Count: number(m[2]), TLS: m[4] != ""}
	most := maxClients
	switch m[1] {
	case "connect":
		s.Kind = Connects
	case "idle":
		s.Kind = Idle
	case "subs":
		s.Kind, most = Subscriptions, maxSubscriptions
		s.Publishers, s.Subscribers = pairsOfGrowth, pairsOfGrowth
	case "offline":
		s.Kind, s.QoS, s.Persistent, s.Each = Offline, 1, true, number(m[3])
		s.Publishers, s.Subscribers = s.Count, s.Count
		most = min(maxClients/2, maxStored/max(1, s.Each))
	}
	switch {
	case (m[3] != "") != (s.Kind == Offline):
		return Scenario{}, fmt.Errorf("scenario %q: offline-<sessions>-<messages> has two counts, the others have one", name)
	case s.TLS && s.Kind != Idle:
		return Scenario{}, fmt.Errorf("scenario %q: only idle connections are measured over TLS", name)
	case s.Count > most:
		return Scenario{}, fmt.Errorf("scenario %q: more than %d", name, most)
	}
	return s, nil
}

// number reads digits that a pattern has found, none as 0.
func number(digits string) int {
	n, _ := strconv.Atoi(digits) // the patterns bound their number
	return n
}

// ParseScenarios reads a list of names divided by commas.
func ParseScenarios(list string) ([]Scenario, error) {
	var out []Scenario
	for name := range strings.SplitSeq(list, ",") {
		s, err := ParseScenario(strings.TrimSpace(name))
		if err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// String returns the name that ParseScenario reads.
func (s Scenario) String() string {
	switch s.Kind {
	case Connects:
		return fmt.Sprintf("connect-%d", s.Count)
	case Idle:
		if s.TLS {
			return fmt.Sprintf("idle-%d-tls", s.Count)
		}
		return fmt.Sprintf("idle-%d", s.Count)
	case Subscriptions:
		return fmt.Sprintf("subs-%d", s.Count)
	case Offline:
		return fmt.Sprintf("offline-%d-%d", s.Count, s.Each)
	}
	mark, suffix := "", ""
	if s.Persistent {
		mark = "p"
	}
	if s.Rate > 0 {
		suffix = "@" + strconv.FormatFloat(s.Rate, 'f', -1, 64)
	}
	if s.Window > 0 {
		suffix = "/" + strconv.Itoa(s.Window)
	}
	return fmt.Sprintf("q%d%s-%d-%d%s", s.QoS, mark, s.Publishers, s.Subscribers, suffix)
}

// alone tells that the scenario wants a broker of its own for each run: what an
// earlier run left in the broker's memory, or what this one leaves, would count.
func (s Scenario) alone() bool {
	return s.Kind == Idle || s.Kind == Subscriptions || s.Kind == Offline
}

// connections is how many sockets the scenario opens at once.
func (s Scenario) connections() int {
	switch s.Kind {
	case Connects, Idle:
		return s.Count
	case Subscriptions:
		return s.Publishers + s.Subscribers + holders
	}
	return s.Publishers + s.Subscribers
}

func (s Scenario) groups() int {
	if s.Publishers == s.Subscribers {
		return s.Publishers
	}
	return 1
}

// window returns how many messages of a group may be on their way when the
// loop is closed: asked for, or as many as no broker drops.
func (s Scenario) window(asked, frameSize int) uint64 {
	if asked > 0 {
		return uint64(asked)
	}
	most, bytes := groupWindow, groupBytes
	if s.QoS > 0 {
		most, bytes = ackedWindow, ackedBytes
	}
	w := min(most, max(totalWindow/s.Subscribers, minimumGroup))
	return uint64(max(1, min(w, bytes/frameSize)))
}

package load

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Limits of a plan; beyond them a run exhausts ports or memory, not a broker.
const (
	maxClients = 20_000
	maxPayload = 1 << 20
	maxRate    = 10_000_000
)

// Windows of the closed loop. A queue of 1,000 messages is what mosquitto
// grants a subscriber unconfigured: below it no broker we know drops.
const (
	groupWindow  = 1000      // messages on their way in a group
	totalWindow  = 20_000    // deliveries on their way in a run
	groupBytes   = 256 << 10 // bytes on their way in a group
	ackWindow    = 20        // QoS 1 and 2 messages unacknowledged by the broker, each publisher
	minimumGroup = 8
)

// Login is what every client of a run presents; empty means anonymous.
type Login struct{ User, Password string }

// Options is one bench: every scenario, run by run, over every target in turn.
type Options struct {
	Targets   []Target
	Scenarios []Scenario
	Base      string        // the target that ratios refer to; the first one when empty
	Runs      int           // measured windows for each scenario and target
	Duration  time.Duration // of a measured window
	Warmup    time.Duration // before it, with the same traffic
	Payload   int           // bytes; from 16 on it carries sequence and time
	Rate      float64       // messages published a second in total; 0 saturates
	Window    int           // messages on their way in a group when saturating; 0 chooses
	Login     Login
	// AllowRemote permits targets beyond loopback: a load generator aimed at
	// someone else's broker is an attack.
	AllowRemote bool
	// Progress, when set, is called after each window from the caller's goroutine.
	Progress func(Run)
}

// Check reports the first option that cannot be obeyed.
func (o *Options) Check() error {
	switch {
	case len(o.Targets) == 0:
		return errors.New("no target given")
	case len(o.Scenarios) == 0:
		return errors.New("no scenario given")
	case o.Runs < 1 || o.Runs > 1000:
		return fmt.Errorf("runs %d is not within 1..1000", o.Runs)
	case o.Duration < 10*time.Millisecond || o.Duration > time.Hour:
		return fmt.Errorf("duration %v is not within 10ms..1h", o.Duration)
	case o.Warmup < 0 || o.Warmup > time.Hour:
		return fmt.Errorf("warm-up %v is not within 0..1h", o.Warmup)
	case o.Payload < 0 || o.Payload > maxPayload:
		return fmt.Errorf("payload %d is not within 0..%d bytes", o.Payload, maxPayload)
	case !(o.Rate >= 0 && o.Rate <= maxRate): // written so that NaN is refused
		return fmt.Errorf("rate %v is not within 0..%d messages/s", o.Rate, maxRate)
	case o.Window < 0 || o.Window > 1<<20:
		return fmt.Errorf("window %d is not within 0..%d", o.Window, 1<<20)
	case len(o.Login.User) > 0xffff || len(o.Login.Password) > 0xffff:
		return errors.New("user name or password exceeds 65535 bytes")
	}
	return o.checkTargets()
}

func (o *Options) checkTargets() error {
	seen := map[string]bool{}
	for _, t := range o.Targets {
		if seen[t.Name] {
			return fmt.Errorf("target %q is given twice", t.Name)
		}
		seen[t.Name] = true
		if err := checkAddress(t.Addr, o.AllowRemote); err != nil {
			return fmt.Errorf("target %s: %w", t.Name, err)
		}
	}
	if o.Base != "" && !seen[o.Base] {
		return fmt.Errorf("base %q is not among the targets", o.Base)
	}
	return nil
}

// checkAddress wants host:port, with a loopback host unless remote ones are allowed.
func checkAddress(addr string, allowRemote bool) error {
	host, port, err := splitAddress(addr)
	if err != nil {
		return err
	}
	if n, err := strconv.ParseUint(port, 10, 16); port != portMark && (err != nil || n == 0) {
		return fmt.Errorf("address %q: port %q is not within 1..65535", addr, port)
	}
	if allowRemote || host == "localhost" {
		return nil
	}
	if ip, err := netip.ParseAddr(host); err == nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("address %q is not loopback; --allow-remote permits it", addr)
}

func splitAddress(addr string) (host, port string, err error) {
	at := strings.LastIndexByte(addr, ':')
	if at < 1 || at == len(addr)-1 {
		return "", "", fmt.Errorf("address %q is not host:port", addr)
	}
	host = strings.TrimSuffix(strings.TrimPrefix(addr[:at], "["), "]")
	return host, addr[at+1:], nil
}

// Scenario is a shape of traffic: N publishers to N subscribers are N pairs on
// their own topics; many to one and one to many share one topic.
type Scenario struct {
	QoS         byte
	Publishers  int
	Subscribers int
	Persistent  bool // subscribers keep their sessions: the broker owes them every message
}

var scenarioName = regexp.MustCompile(`^q([012])(p?)-([1-9][0-9]{0,5})-([1-9][0-9]{0,5})$`)

// ParseScenario reads a name such as q0-50-50: QoS, publishers, subscribers;
// q1p-50-50 has persistent sessions.
func ParseScenario(name string) (Scenario, error) {
	m := scenarioName.FindStringSubmatch(name)
	if m == nil {
		return Scenario{}, fmt.Errorf("scenario %q is not q<QoS>[p]-<publishers>-<subscribers>, as q0-50-50 or q1p-20-20", name)
	}
	pubs, _ := strconv.Atoi(m[3]) // at most six digits: the pattern says so
	subs, _ := strconv.Atoi(m[4])
	if pubs != subs && pubs != 1 && subs != 1 {
		return Scenario{}, fmt.Errorf("scenario %q: counts must be equal (pairs), or one of them 1", name)
	}
	if pubs+subs > maxClients {
		return Scenario{}, fmt.Errorf("scenario %q: more than %d clients", name, maxClients)
	}
	s := Scenario{QoS: m[1][0] - '0', Publishers: pubs, Subscribers: subs, Persistent: m[2] != ""}
	if s.Persistent && s.QoS == 0 {
		return Scenario{}, fmt.Errorf("scenario %q: a persistent session keeps nothing at QoS 0", name)
	}
	return s, nil
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
	mark := ""
	if s.Persistent {
		mark = "p"
	}
	return fmt.Sprintf("q%d%s-%d-%d", s.QoS, mark, s.Publishers, s.Subscribers)
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
	w := min(groupWindow, max(totalWindow/s.Subscribers, minimumGroup))
	return uint64(max(1, min(w, groupBytes/frameSize)))
}

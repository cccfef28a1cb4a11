package load

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Limits of a plan; beyond them a run exhausts memory, not a broker.
const (
	maxClients = 50_000
	maxPayload = 1 << 20
	maxRate    = 10_000_000
)

// Windows of the closed loop. Unconfigured, mosquitto grants a subscriber a
// queue of 1,000 messages, FlashMQ one of 512 or 64 KiB at QoS 1 and 2: below
// that no broker we know drops.
const (
	groupWindow  = 1000      // messages on their way in a group
	ackedWindow  = 250       // the same at QoS 1 and 2
	ackedBytes   = 48 << 10  // their bytes
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
	Rate      float64       // messages published a second in total; 0 saturates; a scenario's own prevails
	Window    int           // messages on their way in a group when saturating; 0 chooses; a scenario's own prevails
	Settle    time.Duration // between two readings of a memory that must stand still
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
	case o.Settle < 0 || o.Settle > time.Minute:
		return fmt.Errorf("settling %v is not within 0..1m", o.Settle)
	case len(o.Login.User) > 0xffff || len(o.Login.Password) > 0xffff:
		return errors.New("user name or password exceeds 65535 bytes")
	}
	if err := o.checkTargets(); err != nil {
		return err
	}
	return o.checkScenarios()
}

// checkScenarios refuses a scenario that no target can run, and one that is
// there twice: its figures would be mixed up.
func (o *Options) checkScenarios() error {
	seen := map[Scenario]bool{}
	for _, s := range o.Scenarios {
		if seen[s] {
			return fmt.Errorf("scenario %s is given twice", s)
		}
		seen[s] = true
		if s.TLS && !slices.ContainsFunc(o.Targets, func(t Target) bool { return t.TLSAddr != "" }) {
			return fmt.Errorf("scenario %s: no target has a tls=host:port", s)
		}
	}
	return nil
}

// under is o with what the scenario itself says of rate and window.
func (o Options) under(s Scenario) Options {
	if s.Rate > 0 {
		o.Rate = s.Rate
	}
	if s.Window > 0 {
		o.Window, o.Rate = s.Window, 0
	}
	return o
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
		if t.TLSAddr == "" {
			continue
		}
		if err := checkAddress(t.TLSAddr, o.AllowRemote); err != nil {
			return fmt.Errorf("target %s, TLS: %w", t.Name, err)
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
	if n, err := strconv.ParseUint(port, 10, 16); port != portMark && port != tlsPortMark && (err != nil || n == 0) {
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

package auth

import (
	"fmt"
	"strings"
)

// The trees that the server owns. All other topics that begin with $ are
// closed; $share is taken off by the front before it asks.
const (
	inboxTree    = "$inbox"
	presenceTree = "$presence"
	sysTree      = "$SYS"
)

// Every refusal is made once, here: CanReceive is asked for each delivery and
// must not allocate. The caller knows the topic.
var (
	errBadAccountLevel  = refusal("the account name cannot be a topic level")
	errInboxPublish     = refusal("publish to $inbox/<to>/<from> with your own account as the last of exactly three levels")
	errInboxSubscribe   = refusal("subscribe to your own inbox only: $inbox/<your account>/#")
	errInboxReceive     = refusal("this inbox belongs to another account")
	errPresencePublish  = refusal("presence is published by the server alone")
	errPresenceReceive  = refusal("this account does not share its presence with you")
	errSysPublish       = refusal("$SYS is published by the server alone")
	errSysHidden        = refusal("$SYS is not open to this account")
	errReserved         = refusal("topics that begin with $ are kept for the server")
	errPublishDenied    = refusal("an access rule denies publishing here")
	errSubscribeDenied  = refusal("an access rule denies subscribing here")
	errPublishDefault   = refusal("no access rule allows publishing here")
	errSubscribeDefault = refusal("no access rule allows subscribing here")
)

func refusal(why string) error { return fmt.Errorf("%w: %s", ErrForbidden, why) }

// ACL decides who may publish to, subscribe to and receive from a topic. The
// inbox and presence trees have fixed laws that no rule can change; everything
// else is open unless the rules say otherwise. The front asks at publish, at
// subscribe and again at each delivery: a subscription may be wider than what
// its owner may receive.
//
// Set the fields before first use; from then on it may be shared freely.
type ACL struct {
	// DefaultDeny refuses what no rule decides, in place of allowing it.
	DefaultDeny bool
	// HideSys refuses $SYS to whom no rule allows it.
	HideSys bool

	rules []Rule
}

// NewACL makes an ACL of rules, the first that matches deciding. Check them
// with [Rule.Check] first: a rule that does not pass it allows nothing and,
// if it denies, denies everything it could have meant.
func NewACL(rules []Rule) *ACL {
	acl := &ACL{rules: make([]Rule, 0, len(rules))}
	for _, r := range rules {
		if r.Check() != nil {
			if r.Allow {
				continue
			}
			r = Rule{Account: "*", Action: ActionAll, Filter: "#"}
		}
		acl.rules = append(acl.rules, r)
	}
	return acl
}

// CanPublish reports whether account may publish to topic; an error wraps
// [ErrForbidden]. An empty account is an anonymous client.
func (a *ACL) CanPublish(account, topic string) error {
	if !goodLevel(account) {
		return errBadAccountLevel
	}
	tree, rest := reserved(topic)
	switch tree {
	case "":
		return a.decide(account, ActionPublish, topic, matchName, !a.DefaultDeny, errPublishDenied, errPublishDefault)
	case inboxTree:
		to, from, _ := strings.Cut(rest, "/")
		if account == "" || to == "" || from != account || strings.ContainsAny(to, "+#") {
			return errInboxPublish
		}
		return nil
	case presenceTree:
		return errPresencePublish
	case sysTree:
		return errSysPublish
	}
	return errReserved
}

// CanSubscribe reports whether account may hold a subscription to filter,
// which has no $share prefix any more; an error wraps [ErrForbidden]. Under
// rules it is conservative: an allow rule must cover the whole filter to
// decide, and a deny rule that covers only a part of it leaves that part to
// CanReceive.
func (a *ACL) CanSubscribe(account, filter string) error {
	if !goodLevel(account) {
		return errBadAccountLevel
	}
	tree, rest := reserved(filter)
	switch tree {
	case "":
		return a.decide(account, ActionSubscribe, filter, covers, !a.DefaultDeny, errSubscribeDenied, errSubscribeDefault)
	case inboxTree:
		if owner, _, _ := strings.Cut(rest, "/"); account == "" || owner != account {
			return errInboxSubscribe
		}
		return nil
	case presenceTree:
		return nil
	case sysTree:
		return a.decide(account, ActionSubscribe, filter, covers, a.sysOpen(), errSubscribeDenied, errSysHidden)
	}
	return errReserved
}

// CanReceive reports whether a message on topic may be delivered to account;
// an error wraps [ErrForbidden]. mayWatch says whether watcher may see the
// presence of account; nil means nobody may. It does not allocate unless a
// rule names %u.
func (a *ACL) CanReceive(account, topic string, mayWatch func(watcher, account string) bool) error {
	if !goodLevel(account) {
		return errBadAccountLevel
	}
	tree, rest := reserved(topic)
	switch tree {
	case "":
		return a.decide(account, ActionSubscribe, topic, matchName, !a.DefaultDeny, errSubscribeDenied, errSubscribeDefault)
	case inboxTree:
		if owner, _, _ := strings.Cut(rest, "/"); account == "" || owner != account {
			return errInboxReceive
		}
		return nil
	case presenceTree:
		return canSee(account, rest, mayWatch)
	case sysTree:
		return a.decide(account, ActionSubscribe, topic, matchName, a.sysOpen(), errSubscribeDenied, errSysHidden)
	}
	return errReserved
}

// canSee decides on $presence/<owner>[/<resource>], given what follows the tree.
func canSee(watcher, rest string, mayWatch func(watcher, account string) bool) error {
	owner, _, _ := strings.Cut(rest, "/")
	if owner == "" {
		return errPresenceReceive
	}
	if owner == watcher || mayWatch != nil && mayWatch(watcher, owner) {
		return nil
	}
	return errPresenceReceive
}

func (a *ACL) sysOpen() bool { return !a.HideSys && !a.DefaultDeny }

// decide walks the rules in order; the first that applies decides.
func (a *ACL) decide(account string, action Action, name string, matches func(filter, name string) bool,
	open bool, denied, closed error,
) error {
	for i := range a.rules {
		filter, ok := a.rules[i].applies(account, action)
		if !ok || !matches(filter, name) {
			continue
		}
		if a.rules[i].Allow {
			return nil
		}
		return denied
	}
	if open {
		return nil
	}
	return closed
}

// reserved splits a topic or filter that begins with $ into its tree and what
// follows the slash. Ordinary ones have the tree "". Wildcards in the first
// level never reach a $ topic [MQTT-4.7.2-1], so "+/bob/#" is ordinary.
func reserved(name string) (tree, rest string) {
	if name == "" || name[0] != '$' {
		return "", ""
	}
	tree, rest, _ = strings.Cut(name, "/")
	return tree, rest
}

// goodLevel guards against an account that would read as several levels or as
// a wildcard. Normalised names never do; this holds whoever calls.
func goodLevel(account string) bool { return !strings.ContainsAny(account, "/+#") }

package auth

import (
	"fmt"
	"strings"

	"pushhub/core/topic"
)

// Action is what a rule speaks of. Subscribing includes receiving.
type Action string

// The actions of a rule.
const (
	ActionPublish   Action = "publish"
	ActionSubscribe Action = "subscribe"
	ActionAll       Action = "all"
)

// Rule allows or denies one account, or everyone, a filter of topics.
type Rule struct {
	Account string // a normalised name, or "*" for everyone, anonymous clients too
	Action  Action
	Filter  string // an MQTT filter; %u stands for the account that asks
	Allow   bool
}

// ParseRule reads "allow|deny ACCOUNT|* publish|subscribe|all FILTER"; the
// filter runs to the end of the line. Errors wrap [ErrBadRule].
func ParseRule(line string) (Rule, error) {
	fields := strings.SplitN(strings.TrimSpace(line), " ", 4)
	if len(fields) != 4 {
		return Rule{}, fmt.Errorf(`%w: %q: want "allow|deny ACCOUNT|* publish|subscribe|all FILTER"`, ErrBadRule, line)
	}
	if fields[0] != "allow" && fields[0] != "deny" {
		return Rule{}, fmt.Errorf("%w: %q begins with %q, want allow or deny", ErrBadRule, line, fields[0])
	}
	r := Rule{Account: fields[1], Action: Action(fields[2]), Filter: fields[3], Allow: fields[0] == "allow"}
	if err := r.Check(); err != nil {
		return Rule{}, err
	}
	return r, nil
}

// Check reports what is wrong with a rule; errors wrap [ErrBadRule].
func (r Rule) Check() error {
	switch r.Action {
	case ActionPublish, ActionSubscribe, ActionAll:
	default:
		return fmt.Errorf("%w: action %q, want publish, subscribe or all", ErrBadRule, r.Action)
	}
	if r.Account != "*" {
		normal, err := Normalize(r.Account)
		if err != nil {
			return fmt.Errorf("%w: %w", ErrBadRule, err)
		}
		if normal != r.Account {
			return fmt.Errorf("%w: account %q is written %q", ErrBadRule, r.Account, normal)
		}
	}
	// Any account name will do in place of %u: it adds no level or wildcard.
	if err := topic.ValidateFilter(expand(r.Filter, "u")); err != nil {
		return fmt.Errorf("%w: filter %q: %w", ErrBadRule, r.Filter, err)
	}
	switch tree, _ := reserved(r.Filter); tree {
	case "", sysTree:
		return nil
	case inboxTree, presenceTree:
		return fmt.Errorf("%w: filter %q: the laws of %s cannot be changed", ErrBadRule, r.Filter, tree)
	default:
		return fmt.Errorf("%w: filter %q: topics that begin with $ are kept for the server", ErrBadRule, r.Filter)
	}
}

// applies reports whether the rule speaks of account and action, and returns
// its filter for that account. A %u never stands for an anonymous client: the
// filter would name nobody's topics.
func (r *Rule) applies(account string, action Action) (filter string, ok bool) {
	if r.Action != ActionAll && r.Action != action {
		return "", false
	}
	if r.Account != "*" && r.Account != account {
		return "", false
	}
	if !strings.Contains(r.Filter, "%u") {
		return r.Filter, true
	}
	if account == "" {
		return "", false
	}
	return expand(r.Filter, account), true
}

func expand(filter, account string) string { return strings.ReplaceAll(filter, "%u", account) }

// matchName is topic.Match: whether the filter matches one topic name.
func matchName(filter, name string) bool { return topic.Match(filter, name) }

// covers reports whether every topic that inner matches, outer matches too.
func covers(outer, inner string) bool {
	// [MQTT-4.7.2-1]: a leading wildcard reaches no topic that begins with $.
	if strings.HasPrefix(inner, "$") && !strings.HasPrefix(outer, "$") {
		return false
	}
	for {
		out, outRest, outMore := strings.Cut(outer, "/")
		in, inRest, inMore := strings.Cut(inner, "/")
		if out == "#" {
			return true
		}
		if in == "#" || out != "+" && out != in {
			return false
		}
		if !inMore {
			// [MQTT-4.7.1-2]: a/# includes a itself.
			return !outMore || outRest == "#"
		}
		if !outMore {
			return false
		}
		outer, inner = outRest, inRest
	}
}

package auth

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"pushhub/core/topic"
)

func bobWatchesAlice(watcher, account string) bool { return watcher == "bob" && account == "alice" }

const pub, sub, recv = "publish", "subscribe", "receive"

// defaultLaws is what an ACL without rules says.
var defaultLaws = []struct {
	account, verb, topic string
	ok                   bool
}{
	{"bob", pub, "plant/7/temp", true},
	{"", pub, "plant/7/temp", true},
	{"bob", sub, "#", true},
	{"bob", sub, "+/bob/#", true},
	{"bob", recv, "plant/7/temp", true},

	{"bob", pub, "$inbox/alice/bob", true},
	{"bob", pub, "$inbox/alice@b.example/bob", true},
	{"bob", pub, "$inbox/bob/bob", true},
	{"bob", pub, "$inbox/alice/carol", false},
	{"bob", pub, "$inbox/bob/alice", false},
	{"bob", pub, "$inbox/alice/bob/x", false},
	{"bob", pub, "$inbox/alice/x/bob", false},
	{"bob", pub, "$inbox/alice", false},
	{"bob", pub, "$inbox//bob", false},
	{"bob", pub, "$inbox/+/bob", false},
	{"bob", pub, "$inbox", false},
	{"", pub, "$inbox/alice/", false},
	{"bob", sub, "$inbox/bob/#", true},
	{"bob", sub, "$inbox/bob/+", true},
	{"bob", sub, "$inbox/bob/alice", true},
	{"bob", sub, "$inbox/bob", true},
	{"bob", sub, "$inbox/+/bob", false},
	{"bob", sub, "$inbox/#", false},
	{"bob", sub, "$inbox/alice/bob", false},
	{"bob", sub, "$inbox/bobby/#", false},
	{"bob", sub, "$inbox", false},
	{"", sub, "$inbox//#", false},
	{"+", sub, "$inbox/+/#", false},
	{"#", sub, "$inbox/#", false},
	{"bob", recv, "$inbox/bob/alice", true},
	{"bob", recv, "$inbox/alice/bob", false},
	{"bob", recv, "$inbox", false},
	{"", recv, "$inbox//x", false},

	{"bob", pub, "$presence/bob", false},
	{"bob", pub, "$presence/bob/phone", false},
	{"bob", sub, "$presence/#", true},
	{"bob", sub, "$presence/+/phone", true},
	{"bob", recv, "$presence/bob/phone", true},
	{"bob", recv, "$presence/alice", true},
	{"bob", recv, "$presence/alice/phone", true},
	{"bob", recv, "$presence/carol", false},
	{"alice", recv, "$presence/bob", false},
	{"", recv, "$presence/", false},
	{"bob", recv, "$presence", false},

	{"bob", pub, "$SYS/broker/uptime", false},
	{"bob", sub, "$SYS/#", true},
	{"bob", recv, "$SYS/broker/uptime", true},

	{"bob", pub, "$other/x", false},
	{"bob", sub, "$other/#", false},
	{"bob", recv, "$other/x", false},
	{"bob", sub, "$INBOX/alice/#", false},
	{"bob", sub, "$", false},
	{"bob", sub, "$share/g/x", false},
}

func TestACLDefaultLaws(t *testing.T) {
	acl := NewACL(nil)
	for _, c := range defaultLaws {
		err := ask(acl, c.account, c.verb, c.topic)
		if (err == nil) != c.ok {
			t.Errorf("%q may %s %q: %v, want %v", c.account, c.verb, c.topic, err, c.ok)
		}
		if err != nil && (!errors.Is(err, ErrForbidden) || err.Error() == ErrForbidden.Error()) {
			t.Errorf("%q %s %q: %q gives no reason", c.account, c.verb, c.topic, err)
		}
	}
}

func ask(acl *ACL, account, verb, name string) error {
	switch verb {
	case "publish":
		return acl.CanPublish(account, name)
	case "subscribe":
		return acl.CanSubscribe(account, name)
	}
	return acl.CanReceive(account, name, bobWatchesAlice)
}

func TestACLPresenceWithoutRosterIsClosed(t *testing.T) {
	if err := NewACL(nil).CanReceive("bob", "$presence/alice", nil); !errors.Is(err, ErrForbidden) {
		t.Errorf("got %v", err)
	}
}

func mustRules(t *testing.T, lines ...string) []Rule {
	t.Helper()
	rules := make([]Rule, 0, len(lines))
	for _, line := range lines {
		r, err := ParseRule(line)
		if err != nil {
			t.Fatal(err)
		}
		rules = append(rules, r)
	}
	return rules
}

// ruledCases name one of the lists of TestACLRules.
var ruledCases = []struct {
	acl                  string
	account, verb, topic string
	ok                   bool
}{
	{"open", "alice", "publish", "secret/x", true},
	{"open", "alice", "subscribe", "secret/#", true},
	{"open", "bob", "publish", "secret", false},
	{"open", "bob", "subscribe", "secret/+", false},
	{"open", "bob", "subscribe", "#", true}, // a part is denied: decided at delivery
	{"open", "bob", "receive", "secret/x", false},
	{"open", "", "receive", "secret/x", false},
	{"open", "bob", "receive", "public", true},
	{"open", "bob", "publish", "plant/7/set", false},
	{"open", "bob", "subscribe", "plant/7/set", true},
	{"open", "carol", "subscribe", "x", false},
	{"open", "carol", "subscribe", "$inbox/carol/#", true},
	{"open", "carol", "receive", "$inbox/carol/bob", true},
	{"open", "carol", "publish", "x", true},
	{"open", "bob", "subscribe", "$SYS/#", false},
	{"open", "bob", "receive", "$SYS/x", false},
	{"open", "alice", "receive", "$SYS/x", true},

	{"closed", "bob", "publish", "home/bob/lamp", true},
	{"closed", "bob", "publish", "home/alice/lamp", false},
	{"closed", "", "publish", "home//lamp", false},
	{"closed", "bob", "subscribe", "home/bob/#", true},
	{"closed", "bob", "subscribe", "home/#", false},
	{"closed", "bob", "subscribe", "home/+/lamp", false},
	{"closed", "bob", "subscribe", "plant/7/temp", true},
	{"closed", "bob", "subscribe", "plant/+/temp", true},
	{"closed", "bob", "subscribe", "plant/#", false},
	{"closed", "bob", "publish", "plant/7/temp", false},
	{"closed", "alice", "subscribe", "plant/#", true},
	{"closed", "alice", "receive", "plant/8/temp", true},
	{"closed", "alice", "receive", "plant/7/temp", false},
	{"closed", "bob", "subscribe", "a topic with spaces", true},
	{"closed", "bob", "subscribe", "$SYS/#", false},
	{"closed", "bob", "publish", "$inbox/alice/bob", true},

	{"hidden", "alice", "receive", "$SYS/x", true},
	{"hidden", "bob", "receive", "$SYS/x", false},
	{"hidden", "bob", "subscribe", "$SYS/#", false},
	{"hidden", "alice", "publish", "$SYS/x", false},
}

func TestACLRules(t *testing.T) {
	open := NewACL(mustRules(t,
		"allow alice all secret/#",
		"deny * all secret/#",
		"deny bob publish plant/+/set",
		"deny carol subscribe #",
		"deny bob subscribe $SYS/#"))
	closed := NewACL(mustRules(t,
		"allow * all home/%u/#",
		"allow bob subscribe plant/+/temp",
		"deny alice all plant/7/#",
		"allow alice all plant/#",
		"allow * subscribe a topic with spaces"))
	closed.DefaultDeny = true
	hidden := NewACL(mustRules(t, "allow alice subscribe $SYS/#"))
	hidden.HideSys = true
	lists := map[string]*ACL{"open": open, "closed": closed, "hidden": hidden}
	for _, c := range ruledCases {
		if err := ask(lists[c.acl], c.account, c.verb, c.topic); (err == nil) != c.ok {
			t.Errorf("%s: %q may %s %q: %v, want %v", c.acl, c.account, c.verb, c.topic, err, c.ok)
		}
	}
}

func TestACLFailsClosedOnABadRule(t *testing.T) {
	acl := NewACL([]Rule{{Account: "bob", Action: "read", Filter: "x", Allow: false}})
	if err := acl.CanPublish("bob", "x"); !errors.Is(err, ErrForbidden) {
		t.Errorf("a deny rule with a bad action is passed over: %v", err)
	}
	acl = NewACL([]Rule{{Account: "*", Action: ActionAll, Filter: "a/#/b", Allow: true}})
	acl.DefaultDeny = true
	if err := acl.CanPublish("bob", "a/x/b"); !errors.Is(err, ErrForbidden) {
		t.Errorf("an allow rule with a bad filter allows: %v", err)
	}
}

func TestParseRuleRefuses(t *testing.T) {
	cases := []struct{ line, says string }{
		{"", "want"},
		{"allow bob all", "want"},
		{"permit bob all x", "allow or deny"},
		{"allow bob read x", "publish, subscribe or all"},
		{"allow Bob all x", `written "bob"`},
		{"allow b/b all x", "account name"},
		{"allow bob all a/#/b", "filter"},
		{"allow bob all a%u+/b", "filter"},
		{"allow bob all $inbox/#", "laws"},
		{"deny bob all $presence/#", "laws"},
		{"allow bob all $share/g/x", "kept"},
	}
	for _, c := range cases {
		r, err := ParseRule(c.line)
		if !errors.Is(err, ErrBadRule) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("ParseRule(%q) = %+v, %v; want an error that says %q", c.line, r, err, c.says)
		}
	}
}

func TestCovers(t *testing.T) {
	cases := []struct {
		outer, inner string
		want         bool
	}{
		{"#", "a/b", true},
		{"#", "#", true},
		{"#", "$SYS/x", false},
		{"+/x", "$SYS/x", false},
		{"a/#", "a", true},
		{"a/#", "a/+/c", true},
		{"a/+", "a/#", false},
		{"a/+", "a", false},
		{"a", "a/#", false},
		{"a/+", "a/b", true},
		{"a/b", "a/+", false},
		{"+/#", "#", false},
		{"+", "+", true},
		{"a/+/#", "a/b", true},
		{"a/b", "a/b/c", false},
	}
	for _, c := range cases {
		if got := covers(c.outer, c.inner); got != c.want {
			t.Errorf("covers(%q, %q) = %v", c.outer, c.inner, got)
		}
	}
}

var (
	levelGen   = rapid.SampledFrom([]string{"a", "b", "ab", "", "+", "$inbox", "$presence", "$SYS", "$share"})
	accountGen = rapid.SampledFrom([]string{"a", "b", "ab", "", "+", "#", "a/b", "$inbox", "%u", "%"})
)

func drawFilter(t *rapid.T, label string) string {
	levels := rapid.SliceOfN(levelGen, 1, 4).Draw(t, label)
	if rapid.Bool().Draw(t, label+" rooted") {
		levels[0] = "$inbox"
	}
	if rapid.Bool().Draw(t, label+" open") {
		levels = append(levels, "#")
	}
	return strings.Join(levels, "/")
}

func drawACL(t *rapid.T) *ACL {
	rules := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Rule {
		return Rule{
			Account: rapid.OneOf(accountGen, rapid.Just("*")).Draw(t, "rule account"),
			Action:  rapid.SampledFrom([]Action{ActionPublish, ActionSubscribe, ActionAll, "x"}).Draw(t, "action"),
			Filter:  rapid.OneOf(rapid.Just("%u/#"), rapid.Just("$inbox/%u/#"), rapid.Custom(func(t *rapid.T) string { return drawFilter(t, "rule filter") })).Draw(t, "filter"),
			Allow:   rapid.Bool().Draw(t, "allow"),
		}
	}), 0, 4).Draw(t, "rules")
	acl := NewACL(rules)
	acl.DefaultDeny = rapid.Bool().Draw(t, "default deny")
	acl.HideSys = rapid.Bool().Draw(t, "hide sys")
	return acl
}

func TestNobodyReadsAnothersInbox(t *testing.T) {
	anyone := func(string, string) bool { return true }
	rapid.Check(t, func(t *rapid.T) {
		acl := drawACL(t)
		account := accountGen.Draw(t, "account")
		filter := drawFilter(t, "subscription")
		owner := rapid.SampledFrom([]string{"a", "b", "ab", "", "$inbox", "%u"}).Draw(t, "owner")
		name := "$inbox/" + owner + "/" + rapid.SampledFrom([]string{"a", "b", "x"}).Draw(t, "sender")

		if acl.CanReceive(account, name, anyone) == nil && account != owner {
			t.Fatalf("%q receives %q", account, name)
		}
		if topic.ValidateFilter(filter) != nil || !topic.Match(filter, name) {
			return
		}
		if acl.CanSubscribe(account, filter) == nil && account != owner {
			t.Fatalf("%q may subscribe to %q, which matches %q", account, filter, name)
		}
	})
}

func TestNobodySpeaksAsAnother(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		acl := drawACL(t)
		account := accountGen.Draw(t, "account")
		levels := rapid.SliceOfN(levelGen, 0, 4).Draw(t, "levels")
		name := "$inbox/" + strings.Join(levels, "/")
		if acl.CanPublish(account, name) != nil {
			return
		}
		if len(levels) != 2 || levels[1] != account || account == "" {
			t.Fatalf("%q may publish to %q", account, name)
		}
	})
}

// A subscription that rules allow under DefaultDeny never reaches a topic
// that they do not allow, unless an earlier rule denied that part.
func TestGrantedSubscriptionsAreCovered(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		outer, inner := drawFilter(t, "outer"), drawFilter(t, "inner")
		name := strings.ReplaceAll(drawFilter(t, "name"), "#", "z")
		name = strings.ReplaceAll(name, "+", "y")
		if topic.ValidateFilter(outer) != nil || topic.ValidateFilter(inner) != nil || name == "" {
			return
		}
		if covers(outer, inner) && topic.Match(inner, name) && !topic.Match(outer, name) {
			t.Fatalf("%q is said to cover %q, but does not match %q", outer, inner, name)
		}
	})
}

func TestCanReceiveDoesNotAllocate(t *testing.T) {
	acl := NewACL(mustRules(t, "deny * all secret/#"))
	topics := []string{"plant/7/temp", "secret/x", "$inbox/bob/alice", "$inbox/alice/bob", "$presence/alice", "$SYS/x", "$x"}
	n := testing.AllocsPerRun(100, func() {
		for _, name := range topics {
			_ = acl.CanReceive("bob", name, bobWatchesAlice)
		}
	})
	if n != 0 {
		t.Errorf("%v allocations", n)
	}
}

package mqttfront

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"
)

// Topic aliases, MQTT 5 §3.3.2.3.4: those that the client sets, and those that we
// set for it. The two have nothing to do with each other.

const (
	// aliasesOut is how many aliases we set at most, whatever the client allows.
	aliasesOut = 32
	// aliasSize is what an alias adds to the properties of a PUBLISH.
	aliasSize = 3
	// aliasShortest and aliasLongest bound the topics that get one, in bytes: the second
	// use must pay for what the first cost, and the table must stay small.
	aliasShortest = 2 * aliasSize
	aliasLongest  = 512
	// aliasMet is how many topics that came last without an alias are remembered.
	aliasMet = 64
	// Each use of an alias earns it credit, up to a bound; each topic that could have
	// had the alias instead costs one, and gets it when there is none left.
	aliasEarns, aliasCredit = 8, 64
)

// aliasTable are the aliases that we set for a client. While there are free ones, a
// topic gets one at once; from then on only when it comes again, in the place of one
// that is not used: so topics that come once cost no more than the first few did. The
// transport's queue lock guards it: what is set is appended under the same lock, so
// that the client reads it in the same order.
type aliasTable struct {
	set    []aliasOut       // the alias of set[i] is i+1
	next   int              // the entry of set that may have to give way
	met    [aliasMet]uint32 // hashes of topics that came without an alias; 0: none
	oldest int              // of met
}

type aliasOut struct {
	hash   uint32
	credit uint8
	topic  string
}

var aliasSeed = maphash.MakeSeed()

// worthAlias tells whether a topic may get an alias at all.
func worthAlias(topic string) bool { return len(topic) >= aliasShortest && len(topic) <= aliasLongest }

// use finds the alias of a topic, or sets one: known tells which. 0 is none. most is
// how many the client allows; without mayset none is set.
func (t *aliasTable) use(topic string, most int, mayset bool) (alias uint16, known bool) {
	hash := max(uint32(maphash.String(aliasSeed, topic)), 1)
	for i := range t.set {
		if a := &t.set[i]; a.hash == hash && a.topic == topic {
			a.credit = min(a.credit+aliasEarns, aliasCredit)
			return uint16(i + 1), true
		}
	}
	switch {
	case !mayset:
		return 0, false
	case len(t.set) < min(most, aliasesOut):
		t.set = append(t.set, aliasOut{hash: hash, topic: strings.Clone(topic)})
		return uint16(len(t.set)), false
	}
	return t.replace(topic, hash), false
}

// replace gives a topic that comes again the alias whose turn it is to lose its topic;
// 0 when that one is still in use.
func (t *aliasTable) replace(topic string, hash uint32) uint16 {
	met := slices.Index(t.met[:], hash)
	if met < 0 {
		t.met[t.oldest] = hash
		t.oldest = (t.oldest + 1) % aliasMet
		return 0
	}
	i := t.next
	t.next = (t.next + 1) % len(t.set)
	if t.set[i].credit > 0 {
		t.set[i].credit--
		return 0
	}
	t.set[i] = aliasOut{hash: hash, topic: strings.Clone(topic)}
	t.met[met] = 0 // when it loses the alias, it begins anew
	return uint16(i + 1)
}

// alias shortens a PUBLISH that is about to be appended: it sets the alias in props
// and returns the topic as it is to be written. size is that of the packet without.
// The caller is between begin and end.
func (e *engine) alias(topic string, props *outProps, size int) string {
	if e.aliasOut == nil {
		e.aliasOut = new(aliasTable)
	}
	// Three bytes more can make the lengths before them a byte longer each.
	fits := e.packetMax == 0 || size+aliasSize+2 <= e.packetMax // [MQTT-3.1.2-24]
	alias, known := e.aliasOut.use(topic, int(e.aliasMost), fits)
	if alias == 0 {
		return topic
	}
	props.alias = alias
	props.size += aliasSize
	if known {
		return ""
	}
	return topic
}

// aliasIn finds the topic of an alias of the client's, and sets it when the PUBLISH
// carries both [MQTT-3.3.2-12].
func (e *engine) aliasIn(alias uint32, name []byte) []byte {
	if e.aliases == nil {
		e.aliases = make([][]byte, e.front.opt.TopicAliasMax)
	}
	known := &e.aliases[alias-1]
	if len(name) > 0 {
		*known = append((*known)[:0], name...)
	}
	return *known
}

// checkAlias tells whether a client may use an alias [MQTT-3.3.2-8] [MQTT-3.3.2-9].
func (e *engine) checkAlias(alias uint32) error {
	if alias == 0 || alias > uint32(max(e.front.opt.TopicAliasMax, 0)) {
		return packets.ErrTopicAliasInvalid
	}
	return nil
}

package mqttfront

import (
	"errors"
	"fmt"

	"github.com/mochi-mqtt/server/v2/packets"

	"pushhub/core"
	"pushhub/core/qos"
)

// A reason is how a core error reads in MQTT.
type reason struct {
	err     error
	code    packets.Code // MQTT 5, §2.4
	connack byte         // MQTT 3, table 3.1
	settled bool         // MQTT 3 acknowledges a publication that failed so: to send it again would not help
}

// reasons is looked through from the top; what is not in it is unspecified.
var reasons = []reason{
	{core.ErrForbidden, packets.ErrNotAuthorized, 5, true},
	{core.ErrNotAuthorized, packets.ErrBadUsernameOrPassword, 4, true},
	{core.ErrBadTopic, packets.ErrTopicNameInvalid, 5, true},
	{core.ErrQuota, packets.ErrQuotaExceeded, 3, false},
	{core.ErrBusy, packets.ErrQuotaExceeded, 3, false},
	{core.ErrFull, packets.ErrQuotaExceeded, 3, false},
	{core.ErrUnavailable, packets.ErrServerUnavailable, 3, false},
	{core.ErrStopped, packets.ErrServerShuttingDown, 3, false},
	{core.ErrTakenOver, packets.ErrSessionTakenOver, 3, false},
	{core.ErrEnded, packets.ErrAdministrativeAction, 5, false},
	{core.ErrPacketInUse, packets.ErrPacketIdentifierInUse, 3, true},
	{core.ErrNotFound, packets.ErrPacketIdentifierNotFound, 3, true},
	{core.ErrUnsupported, packets.ErrImplementationSpecificError, 5, true},
	{core.ErrExists, packets.ErrImplementationSpecificError, 3, true},
	{core.ErrGone, packets.ErrImplementationSpecificError, 3, true},
}

var unspecified = reason{code: packets.ErrUnspecifiedError, connack: 3}

func reasonFor(err error) reason {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r
		}
	}
	return unspecified
}

// codeOf is the reason code of an error of the core or of a decoder; nil is success.
func codeOf(err error) packets.Code {
	if err == nil {
		return packets.CodeSuccess
	}
	var c packets.Code
	if errors.As(err, &c) {
		return c
	}
	return reasonFor(err).code
}

// connack3 is the return code of a CONNACK of MQTT 3; ok is false where it has
// none, and the connection is just closed.
func connack3(err error) (code byte, ok bool) {
	var c packets.Code
	if !errors.As(err, &c) {
		return reasonFor(err).connack, true
	}
	switch c.Code {
	case packets.ErrUnsupportedProtocolVersion.Code:
		return 1, true
	case packets.ErrClientIdentifierNotValid.Code:
		return 2, true
	case packets.ErrServerUnavailable.Code, packets.ErrUseAnotherServer.Code, packets.ErrServerMoved.Code:
		return 3, true
	case packets.ErrBadUsernameOrPassword.Code:
		return 4, true
	case packets.ErrNotAuthorized.Code:
		return 5, true
	}
	return 0, false
}

// ackCode is the reason code of PUBACK or PUBREC, MQTT 5 table 3-4.
func ackCode(err error) byte {
	switch c := codeOf(err).Code; c {
	case 0x00, 0x83, 0x87, 0x90, 0x91, 0x97, 0x99:
		return c
	case packets.ErrServerUnavailable.Code:
		return packets.ErrImplementationSpecificError.Code
	}
	return packets.ErrUnspecifiedError.Code
}

// unsubackCode is filterCode without what UNSUBACK does not have, MQTT 5 table 3-9.
func unsubackCode(err error) byte {
	switch c := filterCode(err); c {
	case packets.ErrQuotaExceeded.Code:
		return packets.ErrUnspecifiedError.Code
	case packets.ErrSharedSubscriptionsNotSupported.Code:
		return packets.ErrImplementationSpecificError.Code
	default:
		return c
	}
}

// filterCode is the reason code of one filter in SUBACK, MQTT 5 table 3-8; an UNSUBACK
// also says that there was no such subscription.
func filterCode(err error) byte {
	switch {
	case errors.Is(err, core.ErrBadTopic):
		return packets.ErrTopicFilterInvalid.Code
	case errors.Is(err, core.ErrNotFound):
		return packets.CodeNoSubscriptionExisted.Code
	case errors.Is(err, core.ErrUnsupported):
		return packets.ErrSharedSubscriptionsNotSupported.Code
	}
	switch c := codeOf(err).Code; c {
	case 0x00, 0x83, 0x87, 0x91, 0x97:
		return c
	}
	return packets.ErrUnspecifiedError.Code
}

// ackTexts tell the person behind a client what the code of an acknowledgement
// means here. None is longer than 100 bytes: appendAnswer has one byte for lengths.
// Not authorized has no text: it says it all, it is common, and there are clients,
// Paho's conformance suite among them, that take no properties in an acknowledgement.
var ackTexts = map[byte]string{
	packets.ErrImplementationSpecificError.Code: "the hub cannot store it, or does not do this",
	packets.ErrTopicNameInvalid.Code:            "there is no such topic, or no such inbox",
	packets.ErrPacketIdentifierInUse.Code:       "a publication of this packet identifier is not released yet",
	packets.ErrPacketIdentifierNotFound.Code:    "no publication of this packet identifier is open",
	packets.ErrQuotaExceeded.Code:               "a limit is reached, or the hub is behind: try again later",
	packets.ErrPayloadFormatInvalid.Code:        "the payload is not UTF-8",
}

// filterTexts do the same for a filter.
var filterTexts = map[byte]string{
	packets.ErrImplementationSpecificError.Code:     "the hub does not do this",
	packets.ErrNotAuthorized.Code:                   "not allowed to subscribe to it",
	packets.ErrTopicFilterInvalid.Code:              "not valid, or too many levels",
	packets.ErrQuotaExceeded.Code:                   "a limit is reached, or the hub is behind: try again later",
	packets.ErrSharedSubscriptionsNotSupported.Code: "shared subscriptions are not supported",
}

// problem is a text for the client, unless it wants none [MQTT-3.1.2-29].
func (e *engine) problem(text string) string {
	if e.noProblems {
		return ""
	}
	return text
}

// filtersText is about the first of the filters that were refused.
func (e *engine) filtersText(codes []byte) string {
	for i, code := range codes {
		if text := filterTexts[code]; text != "" {
			return e.problem(fmt.Sprintf("filter %d: %s", i+1, text))
		}
	}
	return ""
}

// settle is how a publication or release that came to err is answered, in the
// terms of the client's version; ok is false when it cannot be, and the connection
// ends instead, so that the client tries again.
func settle(kind qos.Reply, version byte, err error) (code byte, ok bool) {
	switch {
	case err == nil:
		return 0, true
	case kind == qos.ReplyComplete:
		return packets.ErrPacketIdentifierNotFound.Code, errors.Is(err, core.ErrNotFound)
	case errors.Is(err, core.ErrStopped), errors.Is(err, core.ErrTakenOver), errors.Is(err, core.ErrEnded):
		return 0, false
	case version == 5:
		return ackCode(err), true
	}
	return 0, reasonFor(err).settled
}

// connackCode keeps to the codes that a CONNACK may have, MQTT 5 table 3-1.
func connackCode(err error) packets.Code {
	switch c := codeOf(err); c.Code {
	case 0x8B: // shutting down
		return packets.Code{Code: packets.ErrServerUnavailable.Code, Reason: c.Reason}
	case 0x8D, 0x8E, 0x8F, 0x91, 0x92, 0x93, 0x94, 0x98, 0x9E, 0xA1, 0xA2:
		return packets.Code{Code: packets.ErrUnspecifiedError.Code, Reason: c.Reason}
	default:
		return c
	}
}

// disconnectCode keeps to the codes that a server's DISCONNECT may have, MQTT 5 table 3-13.
func disconnectCode(err error) packets.Code {
	switch c := codeOf(err); c.Code {
	case 0x84, 0x85, 0x86, 0x88, 0x8A, 0x8C, 0x91, 0x92:
		return packets.Code{Code: packets.ErrUnspecifiedError.Code, Reason: c.Reason}
	default:
		return c
	}
}

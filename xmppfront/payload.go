package xmppfront

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"pushhub/core"
	"pushhub/xmppfront/framer"
)

const (
	nsJSON    = "urn:xmpp:json:0"       // XEP-0335
	nsPayload = "urn:pushhub:payload:0" // any bytes, with their type

	typeText = "text/plain"
	typeJSON = "application/json"
	typeXML  = "application/xml"

	maxContentType = 255 // bytes
)

// payloadRank says which child of a message tells its payload best.
type payloadRank uint8

const (
	rankNone payloadRank = iota
	rankBody
	rankJSON // beside it, a body is for people
	rankPayload
)

func rankOf(c framer.Element) payloadRank {
	switch {
	case string(c.Space) == nsPayload && string(c.Name) == "payload":
		return rankPayload
	case string(c.Space) == nsJSON && string(c.Name) == "json":
		return rankJSON
	case string(c.Space) == framer.NSClient && string(c.Name) == "body":
		return rankBody
	}
	return rankNone
}

// readPayload appends the bytes that an element stands for, and sets their type.
func readPayload(dst []byte, c framer.Element, m *core.Message) ([]byte, error) {
	m.UTF8 = true
	switch rankOf(c) {
	case rankBody:
		m.ContentType = typeText
	case rankJSON:
		m.ContentType = typeJSON
	case rankPayload:
		return readPayloadElement(dst, c, m)
	case rankNone:
		return dst, nil
	}
	return framer.Unescape(dst, c.Inner), nil
}

func readPayloadElement(dst []byte, c framer.Element, m *core.Message) ([]byte, error) {
	typ, _ := c.Attr("type")
	if len(typ) > maxContentType {
		return dst, badRequest.says("the payload's type is too long")
	}
	m.ContentType = string(typ)
	encoding, _ := c.Attr("encoding")
	switch string(encoding) {
	case "":
		return framer.Unescape(dst, c.Inner), nil
	case "base64":
	default:
		return dst, badRequest.says("the payload's encoding is base64 or none")
	}
	m.UTF8 = false
	text := bytes.Join(bytes.Fields(framer.Unescape(nil, c.Inner)), nil)
	dst, err := base64.StdEncoding.Strict().AppendDecode(dst, text)
	if err != nil {
		return dst, badRequest.says("the payload is not base64")
	}
	return dst, nil
}

// appendBody writes a message's children for a client.
func appendBody(p []byte, m *core.Message) []byte {
	if m.NativeForm == core.NativeXMPP {
		return append(p, m.Native...)
	}
	if m.Subject != "" {
		p = textElement(p, "subject", m.Subject)
	}
	if !framer.ValidText(m.Payload) {
		return appendPayloadElement(p, m)
	}
	p = textElement(p, "body", m.Payload)
	switch {
	case !plainType(m.ContentType):
		p = appendPayloadElement(p, m)
	case isJSON(m.Payload):
		p = appendJSON(p, m.Payload)
	}
	return p
}

// appendItemPayload writes the payload of a pubsub item.
func appendItemPayload(p []byte, m *core.Message) []byte {
	switch {
	case m.NativeForm == core.NativeXMPP:
		return append(p, m.Native...)
	case plainType(m.ContentType) && isJSON(m.Payload) && framer.ValidText(m.Payload):
		return appendJSON(p, m.Payload)
	}
	return appendPayloadElement(p, m)
}

// plainType reports whether a content type says no more than the payload's form does.
func plainType(t string) bool { return t == "" || t == typeText || t == typeJSON }

// isJSON reports whether b is a JSON object or array; what else is JSON cannot
// be told from text.
func isJSON(b []byte) bool {
	t := bytes.TrimLeft(b, " \t\r\n")
	return len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(b)
}

func appendJSON(p, b []byte) []byte {
	p = append(p, "<json xmlns='"+nsJSON+"'>"...)
	return append(framer.AppendEscapedText(p, b), "</json>"...)
}

// appendPayloadElement writes bytes of any kind: as text where XML can carry
// them, else in base64. XML 1.0 §2.2 forbids most control characters.
func appendPayloadElement(p []byte, m *core.Message) []byte {
	p = append(p, "<payload xmlns='"+nsPayload+"'"...)
	text := framer.ValidText(m.Payload)
	switch {
	case m.ContentType != "":
		p = attr(p, "type", m.ContentType)
	case text:
		p = attr(p, "type", typeText)
	default:
		p = attr(p, "type", "application/octet-stream")
	}
	if text {
		p = framer.AppendEscapedText(append(p, '>'), m.Payload)
	} else {
		p = append(p, " encoding='base64'>"...)
		p = base64.StdEncoding.AppendEncode(p, m.Payload)
	}
	return append(p, "</payload>"...)
}

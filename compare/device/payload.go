package device

import (
	"bytes"
	"encoding/base64"
	"encoding/json"

	"pushhub/xmppfront/framer"
)

// nsPayload is the hub's container for bytes that are not JSON.
const nsPayload = "urn:pushhub:payload:0"

// container draws a payload for an item or a message: JSON as it is
// (XEP-0335), other text as text, all else in base64.
func container(payload []byte) []byte {
	text := framer.ValidText(payload)
	if text && isJSON(payload) {
		b := framer.AppendEscapedText([]byte("<json xmlns='"+nsJSON+"'>"), payload)
		return append(b, "</json>"...)
	}
	if text {
		b := framer.AppendEscapedText([]byte("<payload xmlns='"+nsPayload+"' type='text/plain'>"), payload)
		return append(b, "</payload>"...)
	}
	b := base64.StdEncoding.AppendEncode([]byte("<payload xmlns='"+nsPayload+"' type='application/octet-stream' encoding='base64'>"), payload)
	return append(b, "</payload>"...)
}

// isJSON reports whether b is a JSON object or array: other JSON looks like text.
func isJSON(b []byte) bool {
	t := bytes.TrimLeft(b, " \t\r\n")
	return len(t) > 0 && (t[0] == '{' || t[0] == '[') && json.Valid(b)
}

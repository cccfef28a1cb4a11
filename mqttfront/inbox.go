package mqttfront

import (
	"strings"

	"pushhub/core"
)

// The user properties by which MQTT 5 says what an inbox message of XMPP says in
// its attributes and subject.
const (
	propID      = "id"
	propType    = "type"
	propSubject = "subject"
)

// inboxIn moves those properties of a message to an inbox into its own fields.
func inboxIn(name string, m *core.Message) {
	if !strings.HasPrefix(name, "$inbox/") {
		return
	}
	rest := m.User[:0]
	for _, u := range m.User {
		if field := inboxField(m, u.Key); field != nil && *field == "" {
			*field = u.Value
			continue
		}
		rest = append(rest, u)
	}
	m.User = rest
}

func inboxField(m *core.Message, key string) *string {
	switch key {
	case propID:
		return &m.ID
	case propType:
		return &m.Type
	case propSubject:
		return &m.Subject
	}
	return nil
}

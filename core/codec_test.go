package core

import (
	"reflect"
	"testing"
)

func everything() *Message {
	return &Message{
		Topic: "plant/7/temp", Payload: []byte{0, 1, 2}, QoS: 2, Retain: true, Resource: "phone", ID: "id1", Type: "chat", Copies: true,
		Subject: "s", ContentType: "text/plain", ResponseTopic: "r", Correlation: []byte("c"),
		User: []Property{{"k", "v"}, {"k", "w"}}, UTF8: true, Expires: 99, Time: 42,
		Native: []byte("<body>x</body>"), NativeForm: NativeXMPP,
	}
}

func TestMessageSurvivesTheJournal(t *testing.T) {
	for name, m := range map[string]*Message{
		"everything": everything(),
		"plain":      {Topic: "t", Payload: []byte("x"), QoS: 1, Time: 7},
		"meta":       {Topic: "t", Payload: []byte{}, ID: "i", Time: 1},
		"native":     {Topic: "t", Payload: []byte{}, Native: []byte("<x/>"), NativeForm: NativeXMPP, Time: 1},
		"copies":     {Topic: "t", Payload: []byte{}, Copies: true, Time: 1},
	} {
		b := appendMessage(nil, m)
		topic, qos, retain, err := messageTopic(b)
		if err != nil || string(topic) != m.Topic || qos != m.QoS || retain != m.Retain {
			t.Fatalf("%s: topic %q, QoS %d, retain %t: %v", name, topic, qos, retain, err)
		}
		got, err := decodeMessage(b, m.Topic, m.From)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !reflect.DeepEqual(got, m) {
			t.Errorf("%s: got %+v, want %+v", name, got, m)
		}
	}
}

func TestCloneSharesNothing(t *testing.T) {
	m := everything()
	c := m.clone()
	if !reflect.DeepEqual(c, m) {
		t.Fatalf("the clone is %+v", c)
	}
	m.Payload[0], m.Native[0], m.Correlation[0], m.User[0].Key = 9, 'x', 'x', "x"
	if c.Payload[0] == 9 || c.Native[0] == 'x' || c.Correlation[0] == 'x' || c.User[0].Key == "x" {
		t.Error("the clone changed with the original")
	}
	m.Reset()
	if !reflect.DeepEqual(m, &Message{}) {
		t.Errorf("Reset left %+v", m)
	}
}

func FuzzDecodeMessage(f *testing.F) {
	f.Add(appendMessage(nil, everything()))
	f.Add(appendMessage(nil, &Message{Topic: "t"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		topic, _, _, err := messageTopic(b)
		if err != nil {
			return
		}
		m, err := decodeMessage(b, string(topic), Address{})
		if err != nil {
			return
		}
		if _, err := decodeMessage(appendMessage(nil, m), m.Topic, Address{}); err != nil {
			t.Fatal(err)
		}
	})
}

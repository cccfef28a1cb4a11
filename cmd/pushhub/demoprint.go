package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"pushhub/compare/device"
)

// theHub is the receiver of what is for no device.
const theHub = "hub"

// A line is one delivery, or something done with the hub alone.
type line struct {
	From, To, What string
	start          time.Time
	took           time.Duration
	err            error
}

// A timeline prints what happens: a table, or JSON lines.
type timeline struct {
	out   io.Writer
	json  bool
	begun time.Time
	lines int
}

// demoLine is a line as JSON.
type demoLine struct {
	Event    string          `json:"event"` // delivery
	Seconds  float64         `json:"t"`     // since the hub was up
	From     string          `json:"from"`
	To       string          `json:"to"`
	Over     [2]string       `json:"protocols"`
	What     string          `json:"what"`
	Millis   float64         `json:"ms"`
	Sender   device.Traffic  `json:"sender_wire"`
	Receiver *device.Traffic `json:"receiver_wire,omitempty"`
	OK       bool            `json:"ok"`
	Error    string          `json:"error,omitempty"`
}

// demoTotal is one device's traffic as JSON.
type demoTotal struct {
	Event     string `json:"event"` // total
	Device    string `json:"device"`
	Proto     string `json:"protocol"`
	Delivered int    `json:"delivered"`
	device.Traffic
}

func (t *timeline) begin(h *hub, took time.Duration) error {
	t.begun = time.Now()
	if t.json {
		return t.encode(map[string]any{
			"event": "ready", "mqtt": h.MQTTAddr(), "mqtts": h.MQTTSAddr(), "xmpp": h.XMPPAddr(), "xmpps": h.XMPPSAddr(),
			"ms": millis(took),
		})
	}
	if err := t.printf("a hub is up after %.0f ms: MQTT at %s, XMPP at %s\n\n", millis(took), h.MQTTAddr(), h.XMPPAddr()); err != nil {
		return err
	}
	return t.row("time", "who→whom", "protocols", "what", "its wire", "receiver", "took", "")
}

// row prints the columns, at most 100 wide. Text is cut where it is too long.
func (t *timeline) row(at, who, over, what, sent, received, took, mark string) error {
	s := left(at, 7) + " " + left(who, 15) + " " + left(over, 17) + " " + left(what, 28) + " " +
		right(sent, 9) + " " + right(received, 8) + " " + right(took, 7) + " " + mark
	return t.printf("%s\n", strings.TrimRight(s, " "))
}

func (t *timeline) line(s *stage, l line) error {
	t.lines++
	from, to := s.actors[l.From], s.actors[l.To]
	row := demoLine{
		Event: "delivery", Seconds: l.start.Sub(t.begun).Seconds(), From: l.From, To: l.To, What: l.What,
		Over: [2]string{from.proto, theHub}, Millis: millis(l.took), Sender: from.spent(), OK: l.err == nil,
	}
	if to != nil {
		row.Over[1] = to.proto
		if l.err == nil {
			to.delivered++
		}
		if to != from {
			spent := to.spent()
			row.Receiver = &spent
		}
	}
	if l.err != nil {
		row.Error = l.err.Error()
	}
	if t.json {
		return t.encode(row)
	}
	received, mark, over := "", "✓", row.Over[0]
	if to != from {
		over += "→" + row.Over[1]
	}
	if row.Receiver != nil {
		received = upDown(*row.Receiver)
	}
	if !row.OK {
		mark = "✗"
	}
	took := fmt.Sprintf("%.1fms", row.Millis)
	if l.took >= time.Second {
		took = fmt.Sprintf("%.1fs", l.took.Seconds())
	}
	err := t.row(fmt.Sprintf("%.3fs", row.Seconds), l.From+"→"+l.To, over, l.What,
		upDown(row.Sender), received, took, mark)
	if err != nil || row.OK {
		return err
	}
	return t.printf("        %s\n", cut(row.Error, 92))
}

// end prints what each device's wire carried in all.
func (t *timeline) end(s *stage, failed int) error {
	if !t.json {
		if err := t.printf("\n%s %s %s %s %s %s %s\n", left("device", 9), left("protocol", 10), right("delivered", 9),
			right("bytes up", 9), right("bytes down", 10), right("writes", 7), right("reads", 7)); err != nil {
			return err
		}
	}
	for _, c := range cast {
		a := s.actors[c[0]]
		total := demoTotal{Event: "total", Device: a.name, Proto: a.proto, Delivered: a.delivered, Traffic: a.meter.Traffic()}
		if err := t.total(total); err != nil {
			return err
		}
	}
	took := time.Since(t.begun)
	if t.json {
		return t.encode(map[string]any{"event": "end", "ok": failed == 0, "deliveries": t.lines, "failed": failed, "ms": millis(took)})
	}
	verdict := fmt.Sprintf("all %d happened", t.lines)
	if failed > 0 {
		verdict = fmt.Sprintf("%d of %d FAILED", failed, t.lines)
	}
	return t.printf("\n%s, in %.1f s\n", verdict, took.Seconds())
}

func (t *timeline) total(d demoTotal) error {
	if t.json {
		return t.encode(d)
	}
	number := func(n int64, width int) string { return right(fmt.Sprint(n), width) }
	return t.printf("%s %s %s %s %s %s %s\n", left(d.Device, 9), left(d.Proto, 10), number(int64(d.Delivered), 9),
		number(d.Up, 9), number(d.Down, 10), number(d.Writes, 7), number(d.Reads, 7))
}

func (t *timeline) encode(v any) error {
	if err := json.NewEncoder(t.out).Encode(v); err != nil {
		return fmt.Errorf("printing the timeline: %w", err)
	}
	return nil
}

func (t *timeline) printf(format string, args ...any) error {
	if _, err := fmt.Fprintf(t.out, format, args...); err != nil {
		return fmt.Errorf("printing the timeline: %w", err)
	}
	return nil
}

func upDown(t device.Traffic) string { return fmt.Sprintf("%d/%d", t.Up, t.Down) }

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// left and right fill a text up to a width, counted in characters.
func left(s string, width int) string { return cut(s, width) + blank(s, width) }

func right(s string, width int) string { return blank(s, width) + s }

func blank(s string, width int) string {
	return strings.Repeat(" ", max(0, width-utf8.RuneCountInString(s)))
}

func cut(s string, width int) string {
	if utf8.RuneCountInString(s) <= width {
		return s
	}
	return string([]rune(s)[:width-1]) + "…"
}

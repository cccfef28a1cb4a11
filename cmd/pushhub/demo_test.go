package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestDemoDeliversEverything(t *testing.T) {
	var out bytes.Buffer
	if err := runVerb(t.Context(), &out, io.Discard, nil, "demo", "--once"); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	lines := strings.Split(out.String(), "\n")
	if strings.Contains(out.String(), "✗") || !strings.HasPrefix(lines[len(lines)-2], "all ") {
		t.Errorf("the demo said\n%s", out.String())
	}
	for _, l := range lines {
		if n := utf8.RuneCountInString(l); n > 100 {
			t.Errorf("a line of %d columns: %s", n, l)
		}
	}
}

func TestDemoPrintsJSONLines(t *testing.T) {
	var out bytes.Buffer
	if err := runVerb(t.Context(), &out, io.Discard, nil, "demo", "--once", "--json"); err != nil {
		t.Fatal(err)
	}
	events := map[string]int{}
	for d := json.NewDecoder(&out); d.More(); {
		var l struct {
			Event string
			OK    *bool
		}
		if err := d.Decode(&l); err != nil {
			t.Fatal(err)
		}
		if l.OK != nil && !*l.OK {
			t.Errorf("%+v", l)
		}
		events[l.Event]++
	}
	if events["ready"] != 1 || events["total"] != len(cast) || events["end"] != 1 || events["delivery"] < 30 {
		t.Errorf("got %v", events)
	}
}

func TestTimelineMarksWhatFailed(t *testing.T) {
	var out bytes.Buffer
	s := newStage(nil, "localhost", &timeline{out: &out})
	if err := s.out.line(s, line{From: "thermo", To: "ada", What: strings.Repeat("long ", 20), err: errors.New("why")}); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); !strings.Contains(got, "✗\n        why\n") || s.actors["ada"].delivered != 0 {
		t.Errorf("got %q", got)
	}
	if err := s.out.end(s, 1); err != nil || !strings.Contains(out.String(), "1 of 1 FAILED") {
		t.Errorf("got %q, %v", out.String(), err)
	}
}

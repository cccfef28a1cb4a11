package load

import (
	"fmt"
	"slices"
	"strings"
)

// presets are the columns of the published comparison, by what they show.
var presets = []struct{ name, scenarios string }{
	{"speed", "q0-1-1,q0-50-50,q0-100-1,q0-1-1000,q1-20-20,q1p-20-20,q2-10-10,connect-50"},
	{"trickle", "q0-10-10@5000,q1-10-10@5000,q0-50-50/1,q1-50-50/1"},
	{"idle", "idle-10000"},
	{"growth", "subs-10,subs-1000,subs-100000,subs-1000000"},
	{"offline", "offline-200-100"},
}

// all is the preset of all presets.
const all = "all"

// Presets returns the names that ParsePresets knows.
func Presets() []string {
	var names []string
	for _, p := range presets {
		names = append(names, p.name)
	}
	return append(names, all)
}

// ParsePresets returns the scenarios of a list of presets divided by commas,
// each scenario once.
func ParsePresets(list string) ([]Scenario, error) {
	var out []Scenario
	for name := range strings.SplitSeq(list, ",") {
		name = strings.TrimSpace(name)
		if !slices.Contains(Presets(), name) {
			return nil, fmt.Errorf("preset %q is not among %s", name, strings.Join(Presets(), ", "))
		}
		for _, p := range presets {
			if p.name != name && name != all {
				continue
			}
			scenarios, err := ParseScenarios(p.scenarios)
			if err != nil {
				return nil, err
			}
			for _, s := range scenarios {
				if !slices.Contains(out, s) {
					out = append(out, s)
				}
			}
		}
	}
	return out, nil
}

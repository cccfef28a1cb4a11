package topic

import "strings"

// Match tells whether a valid filter matches a valid name. It defines what
// Index and Store must answer; they differ only in speed.
func Match(filter, name string) bool {
	if isReserved(name) && startsWild(filter) {
		return false // [MQTT-4.7.2-1]
	}
	return matchLevels(filter, name)
}

// HasWildcard tells whether a valid filter may match more than one name.
func HasWildcard(filter string) bool { return strings.ContainsAny(filter, "+#") }

// isReserved tells of names such as $SYS/uptime that no leading wildcard meets.
func isReserved(name string) bool { return name != "" && name[0] == '$' }

func startsWild(filter string) bool {
	return filter != "" && (filter[0] == '+' || filter[0] == '#')
}

// matchLevels is Match without the rule on names that begin with '$', so it
// also serves for what follows a common beginning. It looks for the end of a
// level of the name only under '+', as a name may have levels of 64 KiB.
func matchLevels(filter, name string) bool {
	for filter != "#" {
		level, filterRest, filterMore := strings.Cut(filter, "/")
		end := len(level)
		if level == "+" {
			end = levelEnd(name)
		} else if !strings.HasPrefix(name, level) {
			return false
		}
		nameMore := end < len(name)
		if nameMore && name[end] != '/' {
			return false
		}
		if !filterMore {
			return !nameMore
		}
		if !nameMore {
			return filterRest == "#" // '#' includes the parent level, §4.7.1.2
		}
		filter, name = filterRest, name[end+1:]
	}
	return true
}

// levelEnd returns where the first level of s ends.
func levelEnd(s string) int {
	if i := strings.IndexByte(s, '/'); i >= 0 {
		return i
	}
	return len(s)
}

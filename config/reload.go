package config

import "reflect"

// Reloadable compares the configuration in effect with the one to come. changed are
// the keys that differ and that a reload applies; needsRestart are those that
// differ and keep their old value until a restart. Sources are not compared.
func Reloadable(before, after Config) (changed, needsRestart []string) {
	for _, k := range keys {
		if sameValue(k.field(&before), k.field(&after)) {
			continue
		}
		if k.live {
			changed = append(changed, k.name)
			continue
		}
		needsRestart = append(needsRestart, k.name)
	}
	return changed, needsRestart
}

func sameValue(a, b any) bool {
	listA, ok := a.(*[]string)
	if !ok {
		return reflect.DeepEqual(a, b)
	}
	listB := b.(*[]string)
	// No list and an empty one are the same setting.
	return len(*listA) == 0 && len(*listB) == 0 || reflect.DeepEqual(*listA, *listB)
}

package daemon

import (
	"os"
	"slices"
	"strings"
)

// Bounds of what the hello says of the CPU. Today's have some 150 features.
const (
	maxFeatures = 512
	maxFeature  = 32 // bytes
)

// cpuFeatures is what all CPUs of this machine can do, by the kernel's names.
func cpuFeatures() []string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return nil
	}
	return parseCPUInfo(string(text))
}

// parseCPUInfo reads the flags of x86, or the features of ARM, that every CPU in a /proc/cpuinfo has, sorted. Other machines
// tell none.
func parseCPUInfo(text string) []string {
	var common map[string]bool
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(line, ":")
		if key = strings.TrimSpace(key); key != "flags" && key != "Features" {
			continue
		}
		has := map[string]bool{}
		for _, f := range strings.Fields(value) {
			if (common == nil || common[f]) && len(f) <= maxFeature {
				has[f] = true
			}
		}
		common = has
	}
	var features []string
	for f := range common {
		features = append(features, f)
	}
	slices.Sort(features)
	return features[:min(len(features), maxFeatures)]
}

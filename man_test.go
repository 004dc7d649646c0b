package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// TestManQuotes: a macro that quotes takes the rest of its line, so that a second one on that line is quoted within the first.
func TestManQuotes(t *testing.T) {
	pages, err := filepath.Glob("man/*.[1-8]")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%v, %v", pages, err)
	}
	for _, page := range pages {
		text, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(text)) {
			words := strings.Fields(line)
			if len(words) == 0 || !strings.HasPrefix(words[0], ".") {
				continue
			}
			words[0] = words[0][1:]
			quotes := slices.DeleteFunc(words, func(w string) bool { return w != "Ql" && w != "Sq" && w != "Dq" && w != "Qq" })
			if len(quotes) > 1 {
				t.Errorf("%s: quotes within quotes: %s", page, line)
			}
		}
	}
}

package client

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkInputs packs an /etc/portage of 500 files: most are a line or two of package.use and its like, and thirty are
// patches.
func BenchmarkInputs(b *testing.B) {
	dir := b.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		text := make([]byte, 3+random.IntN(9))
		for i := range text {
			text[i] = byte('a' + random.IntN(26))
		}
		return string(text)
	}
	for i := range 500 {
		name, lines := fmt.Sprintf("package.use/%s-%d", word(), i), 1+random.IntN(5)
		switch {
		case i < 30:
			name, lines = fmt.Sprintf("patches/cat-%d/%s/%d.patch", i%7, word(), i), 100
		case i < 250:
			name = fmt.Sprintf("package.accept_keywords/%s-%d", word(), i)
		}
		var text strings.Builder
		for range lines {
			fmt.Fprintf(&text, "%s-%s/%s %s -%s %s\n", word(), word(), word(), word(), word(), word())
		}
		file := filepath.Join(dir, "etc/portage", name)
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			b.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(text.String()), 0o644); err != nil {
			b.Fatal(err)
		}
	}
	var size int64
	for b.Loop() {
		in := inputs{root: dir, warn: b.Logf}
		file, n, err := in.pack(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		file.Close()
		size = n
	}
	b.ReportMetric(float64(size), "archive-bytes")
}

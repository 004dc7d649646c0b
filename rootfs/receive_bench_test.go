package rootfs

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

// benchRoot is a root of n files in a directory for each fifty, of 1 to 40 KiB as most files of a system are,
// and a few large ones. Contents are slices of one text.
func benchRoot(n int, sum bool) []rootFile {
	rnd := rand.New(rand.NewPCG(3, 4))
	words := make([]byte, 4<<20)
	for i := range words {
		words[i] = byte('a' + rnd.IntN(26))
	}
	text := string(words)
	root := []rootFile{aDir(".", 0o755)}
	for i := range n {
		if i%50 == 0 {
			root = append(root, aDir(fmt.Sprintf("%06d", i/50), 0o755))
		}
		size := 1<<10 + rnd.IntN(40<<10)
		if i%1000 == 0 {
			size = 3 << 20
		}
		at := rnd.IntN(len(text) - size)
		f := rootFile{Entry{
			Path: fmt.Sprintf("%06d/%06d", i/50, i), Type: TypeFile, Mode: 0o644, Sec: 1_600_000_000, Nsec: uint32(i), Size: int64(size),
		}, text[at : at+size]}
		if sum {
			f = aFile(f.Path, f.content).with(func(e *Entry) { e.Nsec = uint32(i) })
		}
		root = append(root, f)
	}
	slices.SortFunc(root, func(a, b rootFile) int { return Compare(a.Path, b.Path) })
	return root
}

// BenchmarkFirstSync is a first sync of 50,000 files, 1.1 GB, without the network.
func BenchmarkFirstSync(b *testing.B) {
	root := benchRoot(50_000, false)
	list := listOf(b, root, false)
	for b.Loop() {
		b.StopTimer()
		s := openTestStore(b, b.TempDir())
		r := begin(b, s, laptop)
		b.StartTimer()
		start := time.Now()
		if _, err := r.List(bytes.NewReader(list), ""); err != nil {
			b.Fatal(err)
		}
		listed := time.Now()
		err := r.Wanted(func(i int) error { return r.Content(i, strings.NewReader(root[i].content)) })
		if err != nil {
			b.Fatal(err)
		}
		wants := r.wants.left
		if _, err := r.Digest(); err != nil || wants.Count > 0 {
			b.Fatal(wants, err)
		}
		received := time.Now()
		g, err := r.Commit(b.Context(), "")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(listed.Sub(start).Seconds(), "s-list")
		b.ReportMetric(received.Sub(listed).Seconds(), "s-contents")
		b.ReportMetric(time.Since(received).Seconds(), "s-commit")
		b.StopTimer()
		g.Release()
		s.background.Wait()
		b.StartTimer()
	}
}

// BenchmarkSmallChange is a commit of 100 changed files of 500,000. It makes half a million files first.
func BenchmarkSmallChange(b *testing.B) {
	if os.Getenv("LANTAGE_BENCH_LARGE") == "" {
		b.Skip("LANTAGE_BENCH_LARGE is not set")
	}
	root := benchRoot(500_000, false)
	for i := range root { // small ones: it is about their number
		if root[i].Type == TypeFile {
			root[i] = aFile(root[i].Path, fmt.Sprint(i))
		}
	}
	s := openTestStore(b, b.TempDir())
	g, _ := syncRoot(b, s, laptop, root, true)
	g.Release()
	s.background.Wait()
	for n := 0; b.Loop(); n++ {
		b.StopTimer()
		newer := slices.Clone(root)
		var contents []string
		for i := 1000; i < 101_000; i += 1000 {
			if newer[i].Type == TypeFile {
				newer[i] = aFile(newer[i].Path, fmt.Sprint("changed ", n, i))
				contents = append(contents, newer[i].content)
			}
		}
		change := changeOf(b, root, newer)
		r := begin(b, s, laptop)
		b.StartTimer()
		start := time.Now()
		if _, err := r.List(bytes.NewReader(change), r.current.Digest); err != nil {
			b.Fatal(err)
		}
		listed := time.Now()
		err := r.Wanted(func(i int) error {
			content := contents[0]
			contents = contents[1:]
			return r.Content(i, strings.NewReader(content))
		})
		if err != nil {
			b.Fatal(err)
		}
		g, err := r.Commit(b.Context(), "")
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(listed.Sub(start).Seconds(), "s-list")
		b.ReportMetric(time.Since(listed).Seconds(), "s-commit")
		b.StopTimer()
		g.Release()
		s.background.Wait()
		root = newer
		b.StartTimer()
	}
}

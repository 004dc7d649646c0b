package rootfs

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestMillion measures the walk of a million files and a fingerprint with 1,500 packages, which takes minutes to
// make: run it with LANTAGE_MILLION=DIR, a directory in which the tree is made if it is not there.
func TestMillion(t *testing.T) {
	root := os.Getenv("LANTAGE_MILLION")
	if root == "" {
		t.Skip("LANTAGE_MILLION is not set")
	}
	if _, err := os.Stat(root); err != nil {
		makeMillion(t, root)
	}
	rules := Rules{Root: root}
	for range 2 {
		begin := time.Now()
		report, err := Scan(t.Context(), ScanOptions{Rules: rules, Out: io.Discard})
		if err != nil {
			t.Fatal(err)
		}
		walk := time.Since(begin)
		begin = time.Now()
		if _, err := rules.Fingerprint(); err != nil {
			t.Fatal(err)
		}
		fingerprint := time.Since(begin)
		var usage syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
			t.Fatal(err)
		}
		t.Logf("%d entries: walk %v, fingerprint %v, at most %d MiB", report.Entries, walk, fingerprint, usage.Maxrss>>10)
		if walk > 10*time.Second || fingerprint > 300*time.Millisecond || usage.Maxrss > 200<<10 {
			t.Error("a walk may take 10 s, a fingerprint 0.3 s, and both 200 MiB")
		}
	}
}

// makeMillion makes 1,000,000 files in 25,000 directories, as links to few, and a VDB.
func makeMillion(t *testing.T, root string) {
	t.Helper()
	must := func(err error) {
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 25_000 {
		dir := filepath.Join(root, "usr", fmt.Sprint("share", i%25), fmt.Sprint("package", i/25%40), fmt.Sprint("part", i))
		must(os.MkdirAll(dir, 0o755))
		for j := range 40 {
			name := filepath.Join(dir, fmt.Sprint("some-file-", j, ".txt"))
			first := filepath.Join(root, "usr", fmt.Sprint("first", i/1000))
			if j == 0 && i%1000 == 0 {
				must(os.WriteFile(first, []byte(name), 0o644))
			}
			must(os.Link(first, name))
		}
	}
	for i := range 1500 {
		dir := filepath.Join(root, "var/db/pkg", fmt.Sprint("category", i%150), fmt.Sprint("package-", i))
		must(os.MkdirAll(dir, 0o755))
		for _, name := range []string{"CONTENTS", "SLOT", "USE", "RDEPEND"} {
			must(os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644))
		}
	}
}

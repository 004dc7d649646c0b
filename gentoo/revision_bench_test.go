package gentoo

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// BenchmarkRepoRevision is the question whether a repository as large as ::gentoo, synced by git, is in the state that the
// other end's is in; for the plan of a few packages, and for that of a world update.
func BenchmarkRepoRevision(b *testing.B) {
	dir := b.TempDir()
	if err := largeRepo(dir); err != nil {
		b.Fatal(err)
	}
	for _, n := range []int{10, 500} {
		var pkgs []string
		for i := range n {
			pkgs = append(pkgs, pkgOfLargeRepo(i*31))
		}
		b.Run(fmt.Sprintf("packages=%d", n), func(b *testing.B) {
			for b.Loop() {
				state, err := RepoRevision(b.Context(), dir, pkgs)
				if err != nil || OnlyContents(state) {
					b.Fatal(state, err)
				}
			}
		})
	}
}

func pkgOfLargeRepo(i int) string { return fmt.Sprintf("cat-%d/pkg-%d", i/115, i) }

// largeRepo makes a git repository of 150,000 files, packed and checked out, with about as many of each kind as ::gentoo has.
func largeRepo(dir string) error {
	git := func(stdin io.Reader, args ...string) error {
		cmd := exec.Command("git", args...)
		cmd.Dir, cmd.Stdin, cmd.Stderr = dir, stdin, os.Stderr
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null"}
		return cmd.Run()
	}
	if err := git(nil, "init", "-q", "-b", "main"); err != nil {
		return err
	}
	r, w := io.Pipe()
	go func() { w.CloseWithError(writeLargeRepo(w)) }()
	if err := git(r, "fast-import", "--quiet"); err != nil {
		return err
	}
	return git(nil, "reset", "-q", "--hard", "main")
}

// writeLargeRepo writes it as git's fast-import takes it.
func writeLargeRepo(w io.Writer) error {
	out := bufio.NewWriter(w)
	fmt.Fprint(out, "commit refs/heads/main\ncommitter lab <lab@example.org> 0 +0000\ndata 1\nx\n")
	n := 0
	file := func(name string, size int) {
		n++
		text := strings.Repeat(name+"\n", size/len(name)+1)
		fmt.Fprintf(out, "M 100644 inline %s\ndata %d\n%s\n", name, len(text), text)
	}
	file("metadata/layout.conf", 100)
	for i := range 250 {
		file(fmt.Sprintf("eclass/e%d.eclass", i), 8<<10)
	}
	for i := range 800 {
		file(fmt.Sprintf("licenses/L%d", i), 7<<10)
	}
	for i := range 830 {
		for _, name := range []string{"make.defaults", "parent", "package.use.mask"} {
			file(fmt.Sprintf("profiles/p%d/d%d/%s", i/30, i%30, name), 500)
		}
	}
	for i := 0; n < 150_000; i++ {
		for v := range 5 {
			file(fmt.Sprintf("%s/pkg-%d-%d.ebuild", pkgOfLargeRepo(i), i, v), 1200)
		}
		for _, name := range []string{"Manifest", "metadata.xml", "files/fix.patch"} {
			file(pkgOfLargeRepo(i)+"/"+name, 600)
		}
	}
	return out.Flush()
}

package build

import (
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/blake2b"

	"lantage/gentoo"
)

// TestJobsCannotChangeDistfiles: root of a job changes nothing of what other jobs build from, whoever it is from.
func TestJobsCannotChangeDistfiles(t *testing.T) {
	r, base := greedyRoots(t)
	fetched, sent := dist("fetched.tar", "fetched"), dist("sent.tar", "sent")
	if err := errors.Join(store(fetchedPath(r.StateDir, fetched), fetched, strings.NewReader("fetched")),
		StoreSent(r.StateDir, clientA, sent, strings.NewReader("sent"))); err != nil {
		t.Fatal(err)
	}
	dir, err := r.checkDir()
	if err != nil {
		t.Fatal(err)
	}
	first, release := r.ranges.take()
	defer release()
	layers, err := base.Layers()
	if err != nil {
		t.Fatal(err)
	}
	s := &rootSpec{Dir: dir, FirstID: first, Layers: layers, Env: baseEnv()}
	s.MaskDirs, s.Remove = base.Masks()
	if err := s.prepare(); err != nil {
		t.Fatal(err)
	}
	d, err := r.distDirs(Job{Dir: dir, Client: clientA, Distfiles: []gentoo.Distfile{sent}}, adapted{}, s)
	if err != nil {
		t.Fatal(err)
	}
	s.Binds = d.binds
	s.Argv = []string{"/bin/greedy", "overwrite", insideDistDir, insideShared, insideSent}
	output, err := os.Create(filepath.Join(dir, "out"))
	if err != nil {
		t.Fatal(err)
	}
	defer output.Close()
	p := r.start(t.Context(), s, output)
	if err := <-p.started; err != nil {
		t.Fatal(err)
	}
	<-p.done
	if p.err != nil || p.code != 0 {
		t.Fatal(p.err, p.code, tailText(output, 4<<10))
	}
	if _, err := os.Stat(filepath.Join(dir, ownDistDir, "planted.evil")); err != nil { // it has tried
		t.Errorf("its own DISTDIR: %v; %s", err, tailText(output, 4<<10))
	}
	for folder, want := range map[string]map[string]string{
		DistDir: {fetched.Key(): "fetched"}, SentDir: {sent.Key(): "sent", sent.Key() + "." + clientA: ""},
	} {
		if diff := cmp.Diff(want, contentsOf(t, filepath.Join(r.StateDir, folder))); diff != "" {
			t.Errorf("%s (-before +after the job):\n%s", folder, diff)
		}
	}
}

// TestKeepFetched: what a job has got is kept if it is what it is called, and nothing that it puts there is followed or waited for.
func TestKeepFetched(t *testing.T) {
	state, job := t.TempDir(), t.TempDir()
	outside := filepath.Join(t.TempDir(), "outside")
	put(t, outside, "outside")
	got := filepath.Join(job, ownDistDir, gotDir)
	one, two, empty := dist("", "one"), dist("", "two"), dist("", "")
	sum := blake2b.Sum512([]byte("blake"))
	blake := gentoo.KeyedDistfile("blake2b-"+hex.EncodeToString(sum[:]), 5)
	put(t, filepath.Join(got, one.Key()), "one")
	put(t, filepath.Join(got, blake.Key()), "blake")
	put(t, filepath.Join(got, two.Key()), "<html>404</html>")
	put(t, filepath.Join(got, empty.Key()), "")
	put(t, filepath.Join(got, "three.tar"), "three")
	if err := errors.Join(
		os.Symlink(outside, filepath.Join(got, dist("", "outside").Key())), os.Symlink(outside, filepath.Join(got, dist("", "link").Key())),
		os.Mkdir(filepath.Join(got, dist("", "directory").Key()), 0o755), syscall.Mkfifo(filepath.Join(got, dist("", "fifo").Key()), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	r := &Runner{StateDir: state, Logger: slog.New(slog.DiscardHandler)}
	done := make(chan struct{})
	close(done)
	r.keepFetched(t.Context(), job, done)
	want := map[string]string{one.Key(): "one", blake.Key(): "blake"}
	if diff := cmp.Diff(want, contentsOf(t, filepath.Join(state, DistDir))); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	one.Name = "one.tar"
	if !HasFetched(state, one) || HasFetched(state, two) {
		t.Error("it is not known what is kept")
	}

	// What takes no room of the job's takes none of the builder's, nor more than a job may write.
	holes := make([]byte, 1<<20)
	sparse, big := dist("", string(holes)), dist("", strings.Repeat("x", 1<<20))
	put(t, filepath.Join(got, sparse.Key()), "")
	if err := os.Truncate(filepath.Join(got, sparse.Key()), 1<<20); err != nil {
		t.Fatal(err)
	}
	r.keepFetched(t.Context(), job, done)
	put(t, filepath.Join(got, big.Key()), strings.Repeat("x", 1<<20))
	r.Limits.Disk = 1 << 19
	r.keepFetched(t.Context(), job, done)
	if diff := cmp.Diff(want, contentsOf(t, filepath.Join(state, DistDir))); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	r.Limits.Disk = 0

	// An empty file says that what there is was of use.
	old := time.Now().Add(-time.Hour)
	kept := fetchedPath(state, one)
	if err := os.Chtimes(kept, old, old); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(got, one.Key()), "")
	r.keepFetched(t.Context(), job, done)
	if fi, err := os.Stat(kept); err != nil || !fi.ModTime().After(old) || fi.Size() != 3 {
		t.Errorf("what was used: %v, %v", fi, err)
	}

	// A job may take the directory away, and put a link in its place.
	put(t, filepath.Join(outside+".d", two.Key()), "two")
	if err := errors.Join(os.RemoveAll(got), os.Symlink(outside+".d", got)); err != nil {
		t.Fatal(err)
	}
	r.keepFetched(t.Context(), job, done)
	if HasFetched(state, two) {
		t.Error("a link out of the job's DISTDIR was followed")
	}
}

// TestFetchOnce: what is there under its sum is not downloaded, what is downloaded is left under its sum, and what is not known or
// damaged is downloaded.
func TestFetchOnce(t *testing.T) {
	shared, file := t.TempDir(), filepath.Join(t.TempDir(), "fetch.py")
	there, damaged, missing := dist("there", "there"), dist("damaged", "damaged"), dist("missing", "missing")
	put(t, file, string(fetchOnce))
	put(t, filepath.Join(shared, there.Key()), "there")
	put(t, filepath.Join(shared, damaged.Key()), "demagad")
	for what, tt := range map[string]struct {
		digests string
		command string
		status  int
		files   map[string]string
	}{
		"there":        {"sha512:" + there.SHA512, "exit 1", 0, map[string]string{"f": "there", there.Key(): ""}},
		"in capitals":  {"size:5 SHA512:" + strings.ToUpper(there.SHA512), "exit 1", 0, map[string]string{"f": "there", there.Key(): ""}},
		"damaged":      {"sha512:" + damaged.SHA512, "printf damaged >f", 0, map[string]string{"f": "damaged", damaged.Key(): "damaged"}},
		"missing":      {"sha512:" + missing.SHA512, "printf missing >f", 0, map[string]string{"f": "missing", missing.Key(): "missing"}},
		"fails":        {"sha512:" + missing.SHA512, "printf miss >f; exit 7", 7, map[string]string{"f": "miss"}},
		"without sums": {"", "printf missing >f", 0, map[string]string{"f": "missing"}},
	} {
		t.Run(what, func(t *testing.T) {
			dir := t.TempDir()
			got := filepath.Join(dir, gotDir)
			if err := os.Mkdir(got, 0o755); err != nil {
				t.Fatal(err)
			}
			cmd := exec.Command("python3", file, shared, dir, "f", tt.digests, "sh", "-c", tt.command)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if status := cmd.ProcessState.ExitCode(); status != tt.status {
				t.Fatalf("it ends with %d (%v): %s", status, err, out)
			}
			files := contentsOf(t, got)
			text, err := os.ReadFile(filepath.Join(dir, "f"))
			if err != nil {
				t.Fatal(err)
			}
			files["f"] = string(text)
			if diff := cmp.Diff(tt.files, files); diff != "" {
				t.Errorf("DISTDIR (-want +got):\n%s\n%s", diff, out)
			}
		})
	}
}

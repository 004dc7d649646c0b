package build

import (
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"lantage/gentoo"
)

// dist is a distfile with this content.
func dist(name, content string) gentoo.Distfile {
	sum := sha512.Sum512([]byte(content))
	return gentoo.Distfile{Name: name, Size: int64(len(content)), SHA512: hex.EncodeToString(sum[:])}
}

// Two clients.
const (
	clientA = "0123456789abcdef0123456789abcdef"
	clientB = "fedcba9876543210fedcba9876543210"
)

// contentsOf are the files of a directory by name.
func contentsOf(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	for _, e := range entries {
		text, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		files[e.Name()] = string(text)
	}
	return files
}

func TestStoreSent(t *testing.T) {
	state := t.TempDir()
	a := dist("a", "content")
	if HasSent(state, clientA, a) {
		t.Error("it is there before it came")
	}
	for _, bad := range []string{"conten", "another", "contents"} {
		if err := StoreSent(state, clientA, a, strings.NewReader(bad)); !errors.Is(err, gentoo.ErrDistfile) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	if got := contentsOf(t, filepath.Join(state, SentDir)); len(got) > 0 || HasSent(state, clientA, a) {
		t.Errorf("kept of what was wrong: %q", got)
	}
	for range 2 { // the second of two clients that send it at the same time
		if err := StoreSent(state, clientA, a, strings.NewReader("content")); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(map[string]string{a.Key(): "content", a.Key() + "." + clientA: ""}, contentsOf(t, filepath.Join(state, SentDir))); diff != "" {
		t.Errorf("kept (-want +got):\n%s", diff)
	}
	b := a
	b.Name = "b"
	if !HasSent(state, clientA, b) {
		t.Error("the same content under another name is not known")
	}
	if HasSent(state, clientB, b) {
		t.Error("it is taken for that of a client that has not sent it")
	}
	if err := StoreSent(state, clientB, b, strings.NewReader("content")); err != nil || !HasSent(state, clientB, b) || !HasSent(state, clientA, a) {
		t.Errorf("both have sent it: %v", err)
	}
}

// TestHasSentKeeps: what a job is about to use is as good as new.
func TestHasSentKeeps(t *testing.T) {
	state := t.TempDir()
	a := dist("a", "content")
	if err := StoreSent(state, clientA, a, strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(sentPath(state, a), old, old); err != nil {
		t.Fatal(err)
	}
	before, err := os.Stat(sentPath(state, a))
	if err != nil || !HasSent(state, clientA, a) {
		t.Fatal(err)
	}
	after, err := os.Stat(sentPath(state, a))
	if err != nil || !after.ModTime().After(before.ModTime()) {
		t.Errorf("%v, then %v: %v", before.ModTime(), after.ModTime(), err)
	}
}

// TestDistDirs: a job has a DISTDIR of its own, and sees, under its client's names, what is here of what its client has sent
// or others have downloaded; of what others have sent nothing, whatever its client says it has.
func TestDistDirs(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("directories of jobs belong to others: needs root")
	}
	state := t.TempDir()
	for _, content := range []string{"one", "two"} {
		if err := StoreSent(state, clientA, dist("name of the sender", content), strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	four := dist("four.tar", "four")
	if err := store(fetchedPath(state, four), four, strings.NewReader("four")); err != nil {
		t.Fatal(err)
	}
	others := dist("others.tar", "others")
	if err := StoreSent(state, clientB, others, strings.NewReader("others")); err != nil {
		t.Fatal(err)
	}
	r := &Runner{StateDir: state}
	job := Job{Dir: t.TempDir(), Client: clientA, Distfiles: []gentoo.Distfile{dist("one-1.tar", "one"), dist("three", "three"), four, others}}
	d, err := r.distDirs(job, adapted{roDistDir: "/base"}, &rootSpec{Dir: job.Dir, FirstID: 100000})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"one-1.tar": "one", "four.tar": "four"}
	if diff := cmp.Diff(want, contentsOf(t, filepath.Join(job.Dir, sentDir))); diff != "" {
		t.Errorf("shown (-want +got):\n%s", diff)
	}
	for _, b := range d.binds {
		if own := strings.HasPrefix(b.Source, job.Dir); !own && !b.ReadOnly || b.Target == insideDistDir && !own {
			t.Errorf("%+v", b)
		}
	}
	if want := []string{insideSent, "/base"}; !slices.Equal(d.readOnly, want) {
		t.Errorf("PORTAGE_RO_DISTDIRS: %q", d.readOnly)
	}
	if err := removeRoot(job.Dir); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(job.Dir); err != nil || len(left) > 0 {
		t.Errorf("left of the job: %v, %v", left, err)
	}
}

// TestOpenDistfile: what somebody may have put into a base's DISTDIR is not followed, waited for, or taken for a file.
func TestOpenDistfile(t *testing.T) {
	dir := t.TempDir()
	put(t, filepath.Join(dir, "good"), "one")
	if err := errors.Join(
		os.Symlink("good", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "directory"), 0o755),
		syscall.Mkfifo(filepath.Join(dir, "fifo"), 0o644),
	); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(dir, "short"), "on")
	for name, want := range map[string]bool{
		"good": true, "link": false, "directory": false, "fifo": false, "short": false, "missing": false,
	} {
		f, err := OpenDistfile(dir, dist(name, "one"))
		if (err == nil) != want {
			t.Errorf("%s: %v", name, err)
		}
		if err == nil {
			f.Close()
		}
	}
}

// TestCollectSent: what clients sent is collected, but not what is on its way.
func TestCollectSent(t *testing.T) {
	state := t.TempDir()
	if err := StoreSent(state, clientA, dist("a", "content"), strings.NewReader("content")); err != nil {
		t.Fatal(err)
	}
	put(t, filepath.Join(state, SentDir, pendingPrefix+"1"), "cont")
	if c, err := Collect(state, time.Hour, false); err != nil || c != (Collected{}) {
		t.Errorf("what is new: %+v, %v", c, err)
	}
	want := Collected{Distfiles: 1, Bytes: 7}
	for _, dry := range []bool{true, false} {
		if c, err := Collect(state, -time.Minute, dry); err != nil || c != want {
			t.Errorf("dry %v: %+v, %v", dry, c, err)
		}
	}
	if diff := cmp.Diff(map[string]string{pendingPrefix + "1": "cont"}, contentsOf(t, filepath.Join(state, SentDir))); diff != "" {
		t.Errorf("left (-want +got):\n%s", diff)
	}
}

func TestEmergeEnvDistdirs(t *testing.T) {
	env := emergeEnv(Job{Env: []string{"FEATURES=-distlocks"}}, distDirs{readOnly: []string{"/a", "/b"}, fetch: "once "}, os.Getenv)
	for _, want := range []string{"PORTAGE_RO_DISTDIRS=/a /b", "FETCHCOMMAND=once " + fetchCommand, "RESUMECOMMAND_RSYNC=once " + fetchRsync} {
		if !slices.Contains(env, want) {
			t.Errorf("there is no %s in %q", want, env)
		}
	}
	i := slices.IndexFunc(env, func(v string) bool { return strings.HasPrefix(v, "FEATURES=") })
	if v := env[i]; strings.LastIndex(v, " distlocks") < strings.LastIndex(v, "-distlocks") {
		t.Errorf("downloads are not locked: %s", v)
	}
}

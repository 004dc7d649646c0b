package rootfs

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

func gone(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is still there: %v", name, err)
		}
	}
}

func countObjects(t *testing.T, s *Store) int {
	t.Helper()
	n := 0
	if err := s.shared.each(func(string) error { n++; return nil }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestHeldGenerationStays(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	made, _ := syncRoot(t, s, laptop, smallRoot(), true)
	old, err := s.Current(laptop)
	if err != nil {
		t.Fatal(err)
	}
	made.Release()
	if err := os.WriteFile(old.Marker("proved"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var roots [][]rootFile
	for _, content := range []string{"1", "2"} {
		root := append(smallRoot(), aFile("new", content))
		roots = append(roots, root)
		g, _ := syncRoot(t, s, laptop, root, true)
		g.Release()
		s.background.Wait()
	}
	report, err := s.GC(t.Context(), GCOptions{})
	if err != nil || report.Held != 1 || report.Generations != 0 {
		t.Errorf("GC: %+v, %v", report, err)
	}
	wantTree(t, old, smallRoot())
	gone(t, filepath.Dir(s.genPath(laptop, 2, "root")))
	old.Release()
	s.background.Wait()
	gone(t, old.Dir, old.Marker("proved"), s.genPath(laptop, 1)+".lock")
	now, err := s.Current(laptop)
	if err != nil {
		t.Fatal(err)
	}
	defer now.Release()
	wantTree(t, now, roots[1])
	gone(t, now.Marker("proved"))
}

// Until the new generation is on disk, a machine that goes down needs the old one.
func TestOldGenerationStaysUntilNewIsOnDisk(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	old, _ := syncRoot(t, s, laptop, smallRoot(), true)
	syncRoot(t, s, laptop, append(smallRoot(), aFile("new", "1")), true)
	s.background.Wait()
	synced := func(is bool) {
		if _, err := s.updateGeneration(laptop, 2, func(f *generationFile) { f.Synced = is }); err != nil {
			t.Fatal(err)
		}
	}
	synced(false)
	old.Release()
	s.background.Wait()
	wantTree(t, old, smallRoot())
	report, err := s.GC(t.Context(), GCOptions{})
	if err != nil || report.Generations != 1 {
		t.Errorf("GC: %+v, %v", report, err)
	}
	if f, err := readJSON[generationFile](s.genPath(laptop, 2, "generation.json")); err != nil || !f.Synced {
		t.Errorf("GC removed the old one before the new one was on disk: %+v, %v", f, err)
	}
}

func TestNothingChangedKeepsGeneration(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	first, _ := syncRoot(t, s, laptop, smallRoot(), true)
	r := begin(t, s, laptop)
	sendList(t, r, changeOf(t, smallRoot(), smallRoot()), first.Digest)
	g, err := r.Commit(t.Context(), "another print")
	if err != nil {
		t.Fatal(err)
	}
	defer g.Release()
	if g.Number != first.Number || g.Fingerprint != "another print" {
		t.Errorf("%+v", g)
	}
	now, err := s.Current(laptop)
	if err != nil || now.Fingerprint != "another print" {
		t.Fatalf("%+v, %v", now, err)
	}
	now.Release()
}

func TestGC(t *testing.T) {
	dir := t.TempDir()
	s := openTestStore(t, dir)
	root := smallRoot()
	g, _ := syncRoot(t, s, laptop, root, true)
	more := append(smallRoot(), aFile("came", "came alone"))
	r := begin(t, s, laptop)
	sendList(t, r, listOf(t, more, true), "")
	sendContents(t, r, more, 1)

	// Another process, with a handle of its own.
	other, err := OpenStore(dir, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.GC(t.Context(), GCOptions{}); !errors.Is(err, ErrBusy) {
		t.Fatalf("during a sync: %v", err)
	}
	if _, err := os.Stat(r.path()); err != nil {
		t.Fatalf("another process took the sync away: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		opt     GCOptions
		objects int
		left    int
	}{
		{GCOptions{OlderThan: time.Hour}, 0, 4},
		{GCOptions{DryRun: true}, 1, 4},
		{GCOptions{}, 1, 3},
	} {
		report, err := other.GC(t.Context(), step.opt)
		if err != nil || report.Objects != step.objects || report.Bytes != int64(step.objects)*4096 {
			t.Errorf("GC(%+v): %+v, %v", step.opt, report, err)
		}
		if n := countObjects(t, s); n != step.left {
			t.Errorf("GC(%+v) left %d objects, not %d", step.opt, n, step.left)
		}
	}
	wantTree(t, g, root)
}

func TestGCOfUnusedCopies(t *testing.T) {
	for _, opt := range []GCOptions{{Unused: 24 * time.Hour}, {MaxBytes: 3 * 4096}} {
		s := openTestStore(t, t.TempDir())
		s.now = func() time.Time { return time.Now().Add(-48 * time.Hour) }
		old, _ := syncRoot(t, s, laptop, append(smallRoot(), aFile("own", "only here")), true)
		old.Release()
		s.background.Wait()
		s.now = time.Now
		g, _ := syncRoot(t, s, tablet, smallRoot(), true)
		dry := opt
		dry.DryRun = true
		if _, err := s.GC(t.Context(), dry); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(old.Dir); err != nil {
			t.Fatalf("a dry run removed it: %v", err)
		}
		report, err := s.GC(t.Context(), opt)
		if err != nil || !slices.Equal(report.Clients, []string{laptop}) || report.Left != 3*4096 {
			t.Errorf("GC(%+v): %+v, %v", opt, report, err)
		}
		gone(t, s.clientPath(laptop))
		wantTree(t, g, smallRoot())
	}
}

func TestForget(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	root := append(smallRoot(), aFile("own", "only here"), aFile("secret", "s").with(func(e *Entry) { e.Mode = 0o600 }))
	held, _ := syncRoot(t, s, laptop, root, true)
	_, _ = syncRoot(t, s, tablet, smallRoot(), true)

	r := begin(t, s, laptop)
	if err := s.Forget(laptop); !errors.Is(err, ErrBusy) {
		t.Errorf("during a sync: %v", err)
	}
	if err := errors.Join(r.Close(), s.Forget(laptop), s.Forget(laptop)); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Current(laptop); !errors.Is(err, ErrNoCopy) {
		t.Errorf("after it: %v", err)
	}
	if clients, err := s.Clients(); err != nil || len(clients) != 1 {
		t.Errorf("Clients() = %+v, %v", clients, err)
	}
	wantTree(t, held, root)
	gone(t, s.clientPath(laptop, "objects"))
	held.Release()
	s.background.Wait()
	gone(t, s.clientPath(laptop))
	if err := s.Forget(laptop); err != nil {
		t.Errorf("a client that is not there: %v", err)
	}
	if err := s.Forget(tablet); err != nil {
		t.Fatal(err)
	}
}

func TestForgetRemovesItsContents(t *testing.T) {
	s := openTestStore(t, t.TempDir())
	a, _ := syncRoot(t, s, laptop, append(smallRoot(), aFile("own", "only here")), true)
	b, _ := syncRoot(t, s, tablet, smallRoot(), true)
	a.Release()
	s.background.Wait()
	if err := s.Forget(laptop); err != nil {
		t.Fatal(err)
	}
	if n := countObjects(t, s); n != 3 {
		t.Errorf("%d objects are left, not the other client's 3", n)
	}
	wantTree(t, b, smallRoot())
	// It may come again.
	again, wanted := syncRoot(t, s, laptop, append(smallRoot(), aFile("own", "only here")), true)
	if !slices.Equal(wanted, []string{"own"}) {
		t.Errorf("wanted %q", wanted)
	}
	again.Release()
}

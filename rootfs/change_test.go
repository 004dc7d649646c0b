package rootfs

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// randomTree is a root with few names, so that two of them have much in common and much that differs.
func randomTree(rnd *rand.Rand) []Entry {
	tree := []Entry{{Path: ".", Type: TypeDir, Mode: 0o755}}
	var fill func(dir string, depth int)
	fill = func(dir string, depth int) {
		for _, name := range []string{"a", "a-", "a.b", "b", "\xff"} {
			e := Entry{Path: dir + name, Mode: uint32(rnd.IntN(2)), Sec: int64(rnd.IntN(2))}
			switch rnd.IntN(6) {
			case 0, 1:
				e.Type, e.Size, e.Sum = TypeFile, 1, Sum{1, byte(rnd.IntN(2))}
			case 2:
				e.Type, e.Target = TypeSymlink, fmt.Sprint(rnd.IntN(2))
			case 3:
				e.Type, e.Xattrs = TypeDir, []Xattr{{"user.x", fmt.Sprint(rnd.IntN(2))}}
			default:
				continue
			}
			tree = append(tree, e)
			if e.Type == TypeDir && depth > 0 {
				fill(e.Path+"/", depth-1)
			}
		}
	}
	fill("", 3)
	slices.SortFunc(tree, func(a, b Entry) int { return Compare(a.Path, b.Path) })
	return tree
}

func TestDiffThenApply(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 500 {
		a, b := randomTree(rnd), randomTree(rnd)
		older, _ := writeEntries(t, false, a...)
		newer, digest := writeEntries(t, false, b...)
		open := func(list []byte, whole bool) *ListReader { return NewListReader(bytes.NewReader(list), whole) }

		var change []Entry
		err := Diff(open(older, true), open(newer, true), func(e *Entry) error { change = append(change, *e); return nil })
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range change { // it has only what differs
			i := slices.IndexFunc(a, func(o Entry) bool { return o.Path == e.Path })
			if i >= 0 && a[i].same(&e) || i < 0 && e.Type == TypeGone {
				t.Fatalf("the change has %+v", e)
			}
		}
		changed, _ := writeEntries(t, false, change...)
		var got []Entry
		err = Apply(open(older, true), open(changed, false), func(e *Entry) error { got = append(got, *e); return nil })
		if diff := cmp.Diff(b, got); diff != "" || err != nil {
			t.Fatalf("%v\n%s", err, diff)
		}
		if _, now := writeEntries(t, false, got...); now != digest {
			t.Fatalf("the digest is %s, not %s", now, digest)
		}
	}
}

func TestDiffOfUnknownSum(t *testing.T) {
	list, _ := writeEntries(t, false, Entry{Path: ".", Type: TypeDir}, Entry{Path: "a", Type: TypeFile})
	n := 0
	err := Diff(NewListReader(bytes.NewReader(list), true), NewListReader(bytes.NewReader(list), true), func(e *Entry) error {
		n++
		return nil
	})
	if err != nil || n != 1 {
		t.Errorf("a file of which nobody knows the content is %d changes, %v", n, err)
	}
}

func TestChangeErrors(t *testing.T) {
	whole, _ := writeEntries(t, false, listEntries()...)
	gone, _ := writeEntries(t, false, Entry{Path: "z", Type: TypeGone})
	open := func(list []byte) *ListReader { return NewListReader(bytes.NewReader(list), false) }
	nothing := func(*Entry) error { return nil }
	for name, err := range map[string]error{
		"gone and never there": Apply(open(whole), open(gone), nothing),
		"older cut":            Apply(open(whole[:40]), open(gone), nothing),
		"change cut":           Apply(open(whole), open(gone[:9]), nothing),
		"diff older cut":       Diff(open(whole[:40]), open(whole), nothing),
		"diff newer cut":       Diff(open(whole), open(whole[:40]), nothing),
	} {
		if !errors.Is(err, ErrList) {
			t.Errorf("%s: %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := Apply(open(whole), open(whole), func(*Entry) error { return stop }); err != stop {
		t.Errorf("an error of emit: %v", err)
	}
}

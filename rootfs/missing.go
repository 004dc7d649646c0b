package rootfs

import (
	"bytes"
	"cmp"
	"errors"
	"slices"
)

// want is a content that is missing, or was. There may be a million: it is kept small.
type want struct {
	sum     Sum // zero: not known
	size    int64
	index   uint32 // of the first entry that wants it, in the list that was sent
	private bool
	came    bool
}

// wants is what was found missing in a list, by index.
type wants struct {
	all   []want
	left  Wants
	bySum []uint32      // positions in all of those with a known sum, by sum; made when Offer asks
	sizes map[int64]int // how many of them have a size and are still missing
}

// arrive marks one as there.
func (w *wants) arrive(i int) {
	w.all[i].came = true
	w.left.Count--
	w.left.Bytes -= w.all[i].size
	if w.sizes[w.all[i].size] > 0 {
		w.sizes[w.all[i].size]--
	}
}

// came returns those that are there.
func (w *wants) came() []want {
	var came []want
	for i := range w.all {
		if w.all[i].came {
			came = append(came, w.all[i])
		}
	}
	return came
}

// consider notes an entry of a list that the store has no object of. Position is its own in what was sent.
func (r *Receiver) consider(found *wants, e *Entry, position uint64) error {
	if e.Type != TypeFile {
		return nil
	}
	if (e.Sum != Sum{}) {
		if ok, err := r.objects(e.private()).has(objectName(e)); ok || err != nil {
			return err
		}
	}
	found.all = append(found.all, want{sum: e.Sum, size: e.Size, index: uint32(position), private: e.private()})
	return nil
}

// findMissing keeps one of each content, and only those that no object has, and checks that there is room.
func (r *Receiver) findMissing(found *wants, entries int) error {
	slices.SortFunc(found.all, func(a, b want) int {
		return cmp.Or(cmp.Compare(btoi(a.private), btoi(b.private)), bytes.Compare(a.sum[:], b.sum[:]),
			cmp.Compare(a.index, b.index))
	})
	found.all = slices.CompactFunc(found.all, func(a, b want) bool {
		return a.sum == b.sum && a.private == b.private && a.sum != Sum{}
	})
	need := int64(entries) << 10
	type place struct {
		folder  string
		private bool
	}
	var at place // where names are from: each folder is read once
	var names []string
	var failed error
	missing := slices.DeleteFunc(found.all, func(w want) bool {
		need += (w.size + 4095) &^ 4095
		if (w.sum == Sum{}) {
			return false
		}
		if in := (place{rawName(w.sum)[:3], w.private}); in != at {
			var err error
			names, err = r.objects(w.private).folder(in.folder)
			at, failed = in, errors.Join(failed, err)
		}
		_, there := find(names, w.sum)
		return there
	})
	if failed != nil {
		return failed
	}
	slices.SortFunc(missing, func(a, b want) int { return cmp.Compare(a.index, b.index) })
	found.all = missing
	for _, w := range missing {
		found.left.Count++
		found.left.Bytes += w.size
	}
	return r.store.checkRoom(need)
}

// Missing is what is still missing of the last list.
func (r *Receiver) Missing() Wants { return r.wants.left }

// Wanted calls emit for each content that is still missing, in ascending order, with the position in the list
// that was sent last (from 0) of an entry that has it.
func (r *Receiver) Wanted(emit func(index int) error) error {
	for i := range r.wants.all { // not by value: writers are writing sums
		if w := &r.wants.all[i]; !w.came {
			if err := emit(int(w.index)); err != nil {
				return err
			}
		}
	}
	return nil
}

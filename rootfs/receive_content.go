package rootfs

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"

	"golang.org/x/sys/unix"
)

// Content takes the content of the entry at a position that Wanted named; ascending positions are cheap. It
// must be there to its end: of another size, or with another sum, the error is ErrSum, it stays missing and
// the sync may go on. Of what is too long, one byte more is read than there should be. Small contents are
// written in the background: another error may be about one that came before, and none can be left out.
func (r *Receiver) Content(index int, content io.Reader) error {
	if r.closed || r.rounds == 0 {
		return errors.New("a content without a list")
	}
	all := r.wants.all
	i := sort.Search(len(all), func(i int) bool { return int64(all[i].index) >= int64(index) })
	if i == len(all) || int64(all[i].index) != int64(index) || all[i].came {
		return fmt.Errorf("a content came that is not missing: number %d of the list", index)
	}
	e, err := r.sent.entry(uint32(index))
	if err != nil {
		return err
	}
	w := &all[i]
	unknown := w.sum == Sum{}
	if e.Size <= maxSmall {
		err = r.small(w, e, content)
	} else {
		err = r.largeContent(w, e, content)
	}
	if err != nil {
		return roomError(err)
	}
	if unknown {
		r.unknown++
	}
	r.wants.arrive(i)
	return nil
}

func (r *Receiver) small(w *want, e *Entry, content io.Reader) error {
	b, err := r.writers.buffer(int(e.Size))
	if err != nil {
		return err
	}
	if err = readAll(b, content); err == nil && w.sum != (Sum{}) && sha256.Sum256(b) != w.sum {
		err = ErrSum
	}
	if err != nil {
		r.writers.recycle(b)
		return fmt.Errorf("%q: %w", e.Path, err)
	}
	r.writers.queue(job{*e, w, r.objects(w.private), b})
	return nil
}

// readAll fills b with all of a content.
func readAll(b []byte, content io.Reader) error {
	if n, err := io.ReadFull(content, b); err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: it ends after %d of %d bytes", ErrSum, n, len(b))
	} else if err != nil {
		return err
	}
	return atEnd(content)
}

func atEnd(content io.Reader) error {
	var more [1]byte
	switch _, err := io.ReadFull(content, more[:]); err {
	case nil:
		return fmt.Errorf("%w: it is longer", ErrSum)
	case io.EOF:
		return nil
	default:
		return err
	}
}

// largeContent writes a content while it comes.
func (r *Receiver) largeContent(w *want, e *Entry, content io.Reader) error {
	o := r.objects(w.private)
	entry := *e
	tmp, err := r.scratch.write(func(fd int) error {
		sum, err := r.hashInto(fd, &entry, content)
		if err == nil && w.sum != (Sum{}) && sum != w.sum {
			err = ErrSum
		}
		if err != nil {
			return fmt.Errorf("%q: %w", e.Path, err)
		}
		entry.Sum = sum
		return dress(fd, &entry)
	})
	if err != nil {
		return err
	}
	w.sum = entry.Sum
	return o.place(r.scratch, tmp, objectName(&entry))
}

// hashInto writes a content of e.Size bytes into a new file and returns its sum.
func (r *Receiver) hashInto(fd int, e *Entry, content io.Reader) (sum Sum, err error) {
	if r.large == nil {
		r.large = make([]byte, 256<<10)
	}
	h := sha256.New()
	out := fileWriter{fd: fd, sparse: e.Sparse}
	n, err := io.CopyBuffer(io.MultiWriter(h, &out), io.LimitReader(content, e.Size), r.large)
	if err != nil {
		return sum, err
	}
	if n < e.Size {
		return sum, fmt.Errorf("%w: it ends after %d of %d bytes", ErrSum, n, e.Size)
	}
	if err := atEnd(content); err != nil {
		return sum, err
	}
	h.Sum(sum[:0])
	return sum, out.end()
}

// Offer takes a content that may be among the missing, such as of a file that this builder itself built: read
// is read only if something of that size is missing. Taken: it was missing and is no more.
func (r *Receiver) Offer(size int64, read io.Reader) (taken bool, err error) {
	if r.wants.sizes == nil {
		if err := r.indexWants(); err != nil {
			return false, roomError(err)
		}
	}
	if r.wants.sizes[size] == 0 {
		return false, nil
	}
	e := Entry{Path: "an offered content", Size: size}
	var small []byte
	var tmp string
	if size <= maxSmall {
		small = make([]byte, size)
		if err = readAll(small, read); err == nil {
			e.Sum = sha256.Sum256(small)
		}
	} else {
		tmp, err = r.scratch.write(func(fd int) (err error) {
			e.Sum, err = r.hashInto(fd, &e, read)
			return err
		})
	}
	if err != nil {
		return false, roomError(err)
	}
	at, _ := slices.BinarySearchFunc(r.wants.bySum, e.Sum, func(i uint32, sum Sum) int {
		return bytes.Compare(r.wants.all[i].sum[:], sum[:])
	})
	for ; at < len(r.wants.bySum) && err == nil; at++ {
		i := int(r.wants.bySum[at])
		w := &r.wants.all[i]
		if w.sum != e.Sum {
			break
		}
		if w.came || w.size != size {
			continue
		}
		if err = r.takeRaw(w, &e, small, tmp); err == nil {
			r.wants.arrive(i)
			taken = true
		}
	}
	if tmp != "" {
		r.scratch.remove(tmp)
	}
	return taken, roomError(err)
}

// takeRaw stores an offered content, which is in memory or in a temporary file.
func (r *Receiver) takeRaw(w *want, e *Entry, small []byte, tmp string) error {
	o := r.objects(w.private)
	if tmp == "" {
		return o.put(r.scratch, e, small, true)
	}
	link := r.scratch.name()
	if err := unix.Linkat(r.scratch.fd, tmp, r.scratch.fd, link, 0); err != nil {
		return err
	}
	return o.place(r.scratch, link, rawName(e.Sum))
}

// indexWants prepares Offer.
func (r *Receiver) indexWants() error {
	if err := r.writers.drain(); err != nil { // they write sums
		return err
	}
	w := &r.wants
	w.sizes = make(map[int64]int)
	for i := range w.all {
		if (w.all[i].sum != Sum{}) && !w.all[i].came {
			w.sizes[w.all[i].size]++
			w.bySum = append(w.bySum, uint32(i))
		}
	}
	slices.SortFunc(w.bySum, func(a, b uint32) int {
		return bytes.Compare(w.all[a].sum[:], w.all[b].sum[:])
	})
	return nil
}

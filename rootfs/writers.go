package rootfs

import (
	"crypto/sha256"
	"runtime"
	"sync"
)

// maxSmall is the largest content that waits in memory until a writer has time for it.
const maxSmall = 1 << 20

// writers write small files, several at a time: to make a file takes longer than to fill it.
type writers struct {
	jobs    chan job
	free    chan []byte // buffers; as many as there are bound the memory
	pending sync.WaitGroup
	running sync.WaitGroup
	mu      sync.Mutex
	err     error // the first: it ends the sync
}

type job struct {
	e       Entry
	w       *want
	o       *objects
	content []byte
}

func startWriters(t *scratch) *writers {
	n := max(2, min(8, runtime.GOMAXPROCS(0)))
	w := &writers{jobs: make(chan job, 4*n), free: make(chan []byte, 6*n)}
	for range cap(w.free) {
		w.free <- nil
	}
	for range n {
		w.running.Go(func() {
			for j := range w.jobs {
				w.write(t, &j)
			}
		})
	}
	return w
}

func (w *writers) write(t *scratch, j *job) {
	defer w.pending.Done()
	defer w.recycle(j.content)
	if (j.e.Sum == Sum{}) {
		j.e.Sum = sha256.Sum256(j.content)
		j.w.sum = j.e.Sum
	}
	if err := j.o.put(t, &j.e, j.content, false); err != nil {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.err == nil {
			w.err = err
		}
	}
}

// buffer returns a free buffer, waiting for one, or the first error of a writer.
func (w *writers) buffer(size int) ([]byte, error) {
	if err := w.failed(); err != nil {
		return nil, err
	}
	b := <-w.free
	if cap(b) < size {
		b = make([]byte, size)
	}
	return b[:size], nil
}

func (w *writers) recycle(b []byte) { w.free <- b }

func (w *writers) queue(j job) {
	w.pending.Add(1)
	w.jobs <- j
}

// drain waits until all is written.
func (w *writers) drain() error {
	w.pending.Wait()
	return w.failed()
}

func (w *writers) failed() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

func (w *writers) stop() {
	close(w.jobs)
	w.running.Wait()
}

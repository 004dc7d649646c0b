package client

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"lantage/gentoo"
	"lantage/wire"
)

// largeTransfer is the size in bytes from which a result's transfer is worth a word.
const largeTransfer = 16 * mebi

// display shows a running job. One goroutine owns the streams until close: lines that stay, and on a
// terminal below them one status line that is redrawn each second.
type display struct {
	screen *screen
	board  *board
	now    func() time.Time

	todo chan func()
	quit chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// newDisplay starts the display. tick says when to redraw; nil where there is no terminal.
func newDisplay(s *screen, b *board, now func() time.Time, tick <-chan time.Time) *display {
	d := &display{screen: s, board: b, now: now, todo: make(chan func()), quit: make(chan struct{})}
	d.done.Go(func() { d.own(tick) })
	return d
}

func (d *display) own(tick <-chan time.Time) {
	defer d.screen.clear()
	for {
		select {
		case f := <-d.todo:
			f()
		case <-tick:
		case <-d.quit:
			return
		}
		d.screen.status(func(width int) string { return d.board.status(d.now(), width) })
	}
}

// do has f run by the goroutine that owns the streams, and waits until it begins. After close it does
// nothing.
func (d *display) do(f func()) {
	select {
	case d.todo <- f:
	case <-d.quit:
	}
}

// close takes the status line away and returns when the streams are free. Calling it again does nothing.
func (d *display) close() {
	d.once.Do(func() { close(d.quit) })
	d.done.Wait()
}

// event shows what the builder tells.
func (d *display) event(e wire.Event) {
	d.do(func() {
		for _, line := range d.board.apply(e, d.now(), !d.screen.tty) {
			d.screen.words(line)
		}
	})
}

// say prints a line of our own.
func (d *display) say(format string, args ...any) {
	d.do(func() { d.screen.words(fmt.Sprintf(format, args...)) })
}

// transfer shows how far a result is; small ones pass unseen. done == size ends it.
func (d *display) transfer(cpv string, done, size int64) {
	if size < largeTransfer {
		return
	}
	d.do(func() {
		if done == 0 && !d.screen.tty {
			d.screen.line(fmt.Sprintf("receiving %s, %d MiB", cpv, size/mebi))
		}
		d.board.transfer = &transfer{cpv, done, size}
		if done >= size {
			d.board.transfer = nil
		}
	})
}

// logLines copies a build log to the screen, a line at a time, until it ends.
func (d *display) logLines(r io.Reader) {
	buf := make([]byte, 4096) // a line longer than this is shown in pieces
	n := 0
	for {
		m, err := r.Read(buf[n:])
		n += m
		last := strings.LastIndexByte(string(buf[:n]), '\n')
		if last < 0 && (n == len(buf) || err != nil && n > 0) {
			last = n - 1
		}
		if last >= 0 {
			text := gentoo.Printable(strings.TrimSuffix(string(buf[:last+1]), "\n"))
			d.do(func() { d.screen.line(text) })
			n = copy(buf, buf[last+1:n])
		}
		if err != nil {
			return
		}
	}
}

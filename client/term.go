package client

import (
	"fmt"
	"io"
	"os"
	"strconv"

	"golang.org/x/term"
)

// screen writes lines and, on a terminal, a status line below them.
type screen struct {
	out   io.Writer
	tty   bool
	width func() int // columns of the terminal

	shown string // the status line that stands there now
}

// newScreen makes a screen of a stream.
func newScreen(out io.Writer, environ []string) *screen {
	s := &screen{out: out, tty: isTerminal(out) && lookupEnv(environ, "TERM") != "dumb"}
	s.width = func() int { return widthOf(out, environ) }
	return s
}

// widthOf is the width of a terminal in columns, 80 where nobody knows.
func widthOf(out io.Writer, environ []string) int {
	if f, ok := out.(*os.File); ok {
		if w, _, err := term.GetSize(int(f.Fd())); err == nil && w > 0 {
			return w
		}
	}
	if w, err := strconv.Atoi(lookupEnv(environ, "COLUMNS")); err == nil && w > 0 {
		return w
	}
	return 80
}

// line prints a line that stays.
func (s *screen) line(text string) {
	s.clear()
	fmt.Fprintln(s.out, text)
}

// status puts text in the place of the status line. Its last column stays free: some terminals wrap there.
func (s *screen) status(text func(width int) string) {
	if !s.tty {
		return
	}
	line := text(s.width() - 1)
	if line == s.shown {
		return
	}
	fmt.Fprint(s.out, "\r\x1b[K"+line)
	s.shown = line
}

// clear takes the status line away.
func (s *screen) clear() {
	if s.shown != "" {
		fmt.Fprint(s.out, "\r\x1b[K")
		s.shown = ""
	}
}

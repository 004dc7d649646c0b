package client

import (
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

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

// lineWidth is the width of the lines that are written to a stream: a terminal's, and 0 elsewhere, where lines have any length.
func lineWidth(out io.Writer, environ []string) int {
	if !isTerminal(out) {
		return 0
	}
	return widthOf(out, environ)
}

// Wrapped is a text as it fits the stream that it is written to.
func Wrapped(out io.Writer, environ []string, text string) string {
	return wrapped(text, lineWidth(out, environ))
}

// wrapped breaks the lines of a text at blanks, so that a terminal of this width does not break them within words; 0 is no
// terminal. Lines that begin with a blank stay whole: they are commands to copy, or of a log.
func wrapped(text string, width int) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if width > 0 && !strings.HasPrefix(line, " ") {
			lines[i] = strings.Join(wrapLine(line, width, "  "), "\n")
		}
	}
	return strings.Join(lines, "\n")
}

// wrapLine breaks one line; all but the first begin with indent. A word that is too long for a line has one of its own.
func wrapLine(line string, width int, indent string) []string {
	var lines []string
	begin := 0 // of its first word
	for r := []rune(line); len(r) > width; r = []rune(line) {
		at := -1
		for i := begin + 1; i < len(r); i++ {
			if r[i] == ' ' && (at < 0 || i <= width) {
				at = i
			}
		}
		if at < 0 {
			break
		}
		lines, line = append(lines, strings.TrimRight(string(r[:at]), " ")), indent+strings.TrimLeft(string(r[at:]), " ")
		begin = len([]rune(indent))
	}
	return append(lines, line)
}

// line prints a line that stays.
func (s *screen) line(text string) {
	s.clear()
	fmt.Fprintln(s.out, text)
}

// words prints a line of words that stays; on a terminal it is broken between them.
func (s *screen) words(text string) {
	if s.tty {
		text = wrapped(text, s.width())
	}
	s.line(text)
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

package gentoo

import (
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Escape sequences of ECMA-48: CSI, then OSC and the other strings up to BEL or ST, then two-byte ones.
var escapeRE = regexp.MustCompile("\x1b\\[[0-?]*[ -/]*[@-~]" +
	"|\x1b[\\]PX^_][^\x07\x1b\n]*(?:\x07|\x1b\\\\)?" +
	"|\x1b[ -/]*[0-~]")

// stripEscapes removes the escape sequences that Portage writes for colours and terminal titles.
func stripEscapes(s string) string {
	if !strings.Contains(s, "\x1b") {
		return s
	}
	return escapeRE.ReplaceAllString(s, "")
}

// Printable makes text from a peer or a log harmless on a terminal: newlines and tabs stay, and so does all
// printable Unicode; colours and other escape sequences are removed; every other control character (C0,
// DEL, C1, bidirectional controls) becomes its caret form or U+FFFD, as do bytes that are not UTF-8.
func Printable(s string) string {
	s = stripEscapes(s)
	if !strings.ContainsFunc(s, notPrintable) {
		return s
	}
	var b strings.Builder
	for _, r := range s {
		switch {
		case r < 0x20 && r != '\n' && r != '\t', r == 0x7f:
			b.WriteByte('^')
			b.WriteRune(r ^ 0x40)
		case notPrintable(r):
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func notPrintable(r rune) bool {
	return r == utf8.RuneError || !unicode.IsGraphic(r) && r != '\n' && r != '\t'
}

// FirstLine is the first line of what a program says, printable.
func FirstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return Printable(line)
}

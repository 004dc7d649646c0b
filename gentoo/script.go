package gentoo

import (
	"regexp"
	"strings"
)

// Script is a text for bash, such as an ebuild or an eclass, taken apart as far as it can be without running it.
type Script struct {
	Functions map[string][]ScriptLine
	Rest      []ScriptLine // what is in no function, or in none whose end was found
}

// ScriptLine is one line, with those that continue it. Lines of comments are left out.
type ScriptLine struct {
	Text string
	Here bool // part of a here-document
}

var (
	functionRE = regexp.MustCompile(`^([ \t]*)(?:function[ \t]+([\w.+-]+)[ \t]*(?:\([ \t]*\))?|([\w.+-]+)[ \t]*\([ \t]*\))[ \t]*([{(]?)[ \t]*(.*)$`)
	hereRE     = regexp.MustCompile(`(?:^|[^<])<<-?[ \t]*["'\\]?([A-Za-z_]\w*)`)
)

// ParseScript goes by the form that all ebuilds have: a function ends where a brace stands as far to the right as the line that it
// begins on.
func ParseScript(text string) Script {
	s := Script{Functions: map[string][]ScriptLine{}}
	lines := scriptLines(text)
	for i := 0; i < len(lines); i++ {
		m := functionRE.FindStringSubmatch(lines[i].Text)
		if m == nil || lines[i].Here {
			s.Rest = append(s.Rest, lines[i])
			continue
		}
		indent, name, open, after := m[1], m[2]+m[3], m[4], strings.TrimSpace(m[5])
		if open != "" && strings.HasSuffix(after, closing[open]) { // all of it on one line
			s.Functions[name] = append(s.Functions[name], ScriptLine{Text: strings.TrimSuffix(after, closing[open])})
			continue
		}
		begin := i + 1
		if open == "" && begin < len(lines) { // the brace has a line of its own
			open = strings.TrimSpace(lines[begin].Text)
			begin++
		}
		end := functionEnd(lines, begin, indent+closing[open])
		if closing[open] == "" || end < 0 {
			s.Rest = append(s.Rest, lines[i])
			continue
		}
		body := lines[begin:end]
		if after != "" {
			s.Functions[name] = append(s.Functions[name], ScriptLine{Text: after})
		}
		s.Functions[name] = append(s.Functions[name], body...) // of two definitions both may count: one for each EAPI
		i = end
	}
	return s
}

var closing = map[string]string{"{": "}", "(": ")"}

// functionEnd finds the line that begins with the end of a function, or returns -1.
func functionEnd(lines []ScriptLine, from int, end string) int {
	for i := from; i < len(lines); i++ {
		if !lines[i].Here && strings.HasPrefix(lines[i].Text, end) {
			return i
		}
	}
	return -1
}

// scriptLines are a text's lines, without comments.
func scriptLines(text string) []ScriptLine {
	raw := strings.Split(text, "\n")
	ends := map[string]int{} // the last line that a word has for itself: a here-document without an end is none
	for i, line := range raw {
		if word := strings.TrimSpace(line); word != "" && !strings.ContainsAny(word, " \t") {
			ends[word] = i
		}
	}
	var lines []ScriptLine
	for i := 0; i < len(raw); i++ {
		line := raw[i]
		if strings.HasPrefix(strings.TrimLeft(line, " \t"), "#") {
			continue
		}
		for continued(line) && i+1 < len(raw) {
			i++
			line = line[:len(line)-1] + " " + strings.TrimLeft(raw[i], " \t")
		}
		lines = append(lines, ScriptLine{Text: line})
		for _, m := range hereRE.FindAllStringSubmatch(line, -1) {
			for last := ends[m[1]]; last > i; {
				i++
				if strings.TrimSpace(raw[i]) == m[1] {
					break
				}
				lines = append(lines, ScriptLine{raw[i], true})
			}
		}
	}
	return lines
}

// continued reports whether a line ends in a backslash that is none's escape.
func continued(line string) bool {
	return (len(line)-len(strings.TrimRight(line, `\`)))%2 == 1
}

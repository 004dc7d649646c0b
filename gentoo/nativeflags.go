package gentoo

import (
	"regexp"
	"slices"
	"strings"
)

// NativeFlag is a flag of a compiler that means the CPU of the machine on which the compiler runs.
type NativeFlag int

// The flags. What they mean on a machine, only its compilers can say.
const (
	MarchNative NativeFlag = iota
	MtuneNative
	McpuNative
	RustNative
)

// String returns the flag as people write it.
func (f NativeFlag) String() string {
	return [...]string{"-march=native", "-mtune=native", "-mcpu=native", "-C target-cpu=native"}[f]
}

// NativeUse is a native flag in a text.
type NativeUse struct {
	Flag NativeFlag
	// Tuned says that the same flags have another -mtune, so that -march=native does not tune.
	Tuned bool

	start, end int
	quote      bool // it is a part of an unquoted word, so that several flags in its place must be quoted
}

// A codegen option of rustc and its value may be two words, and these on two lines.
var nativeRE = regexp.MustCompile(`-m(?:arch|tune|cpu)=native|(?:-C(?:\s|\\\n)*|--codegen(?:=|(?:\s|\\\n)+))target-cpu=native`)

var tuneRE = regexp.MustCompile(`-mtune=[^\s"'\\]`)

const (
	beforeFlag = " \t\r\n\"'=(:;|&`,"
	afterFlag  = " \t\r\n\"')}:;|&`,\\"
	wordEnds   = " \t\r\n();|&`"
)

// FindNative finds the native flags in the text of a file of Portage's: a make.conf or another one of assignments, a
// bashrc, a list of packages with flags. Those in comments do not count.
func FindNative(text string) []NativeUse { return findNative(text, true) }

// FindNativeIn finds them in the value of a variable, in which nothing is quoted and nothing a comment.
func FindNativeIn(value string) []NativeUse { return findNative(value, false) }

// ReplaceNative puts other flags in the place of the native ones that were found in text.
func ReplaceNative(text string, uses []NativeUse, flags func(NativeUse) string) string {
	var b strings.Builder
	at := 0
	for _, u := range uses {
		b.WriteString(text[at:u.start])
		if u.quote {
			b.WriteString(`"` + flags(u) + `"`)
		} else {
			b.WriteString(flags(u))
		}
		at = u.end
	}
	b.WriteString(text[at:])
	return b.String()
}

func findNative(text string, shell bool) []NativeUse {
	matches := nativeRE.FindAllStringIndex(text, -1)
	matches = slices.DeleteFunc(matches, func(m []int) bool { return !separate(text, m[0], m[1]) })
	if len(matches) == 0 {
		return nil
	}
	s := shellScan{text: text, matches: matches}
	if shell {
		s.run()
	} else {
		s.value()
	}
	return s.uses
}

// separate reports whether text[start:end] is a flag of its own and not a part of another word.
func separate(text string, start, end int) bool {
	if start > 0 && !strings.Contains(beforeFlag, text[start-1:start]) &&
		!strings.HasSuffix(text[:start], ":-") && !strings.HasSuffix(text[:start], ":+") { // ${CFLAGS:--march=native}
		return false
	}
	return end == len(text) || strings.Contains(afterFlag, text[end:end+1])
}

// shellScan goes through a text as a shell would, as far as quotation marks, comments, words and lines go.
type shellScan struct {
	text    string
	matches [][]int
	uses    []NativeUse
	code    strings.Builder // the text without its comments

	quote    byte
	word     int   // where this word begins
	begins   []int // where statements begin, in code
	statedIn []int // for each use, in which statement it is
}

// value takes the whole text for one quoted statement.
func (s *shellScan) value() {
	for _, m := range s.matches {
		s.add(m, false)
	}
	s.code.WriteString(s.text)
	s.tuned()
}

func (s *shellScan) run() {
	for i := 0; i < len(s.text); {
		if s.quote == 0 && s.text[i] == '#' && i == s.word {
			end := strings.IndexByte(s.text[i:], '\n')
			if end < 0 {
				break
			}
			i += end
			s.word = i
		}
		for len(s.matches) > 0 && s.matches[0][0] < i {
			s.matches = s.matches[1:] // in a comment
		}
		n := 1
		if len(s.matches) > 0 && s.matches[0][0] == i {
			s.add(s.matches[0], s.quote == 0 && s.word != i)
			n = s.matches[0][1] - i
		} else {
			n = s.step(i)
		}
		s.code.WriteString(s.text[i : i+n])
		i += n
	}
	s.tuned()
}

// step takes the byte at i, or two of them where the first is a backslash, and returns how many.
func (s *shellScan) step(i int) int {
	c := s.text[i]
	switch {
	case c == '\\' && s.quote != '\'' && i+1 < len(s.text):
		if s.text[i+1] == '\n' && s.word == i {
			s.word = i + 2
		}
		return 2
	case s.quote != 0:
		if c == s.quote {
			s.quote = 0
		}
	case c == '"' || c == '\'':
		s.quote = c
	case strings.IndexByte(wordEnds, c) >= 0:
		s.word = i + 1
		if c == '\n' {
			s.begins = append(s.begins, s.code.Len()+1)
		}
	}
	return 1
}

func (s *shellScan) add(m []int, quote bool) {
	u := NativeUse{start: m[0], end: m[1], quote: quote, Flag: RustNative}
	switch s.text[m[0]:m[1]] {
	case "-march=native":
		u.Flag = MarchNative
	case "-mtune=native":
		u.Flag = MtuneNative
	case "-mcpu=native":
		u.Flag = McpuNative
	}
	s.uses = append(s.uses, u)
	s.statedIn = append(s.statedIn, len(s.begins))
}

// tuned sees which uses have another -mtune beside them: in the same statement, or maybe elsewhere in the text if the
// statement takes variables from there.
func (s *shellScan) tuned() {
	code := s.code.String()
	anywhere := tuneRE.MatchString(code)
	bounds := append(append([]int{0}, s.begins...), len(code))
	for i := range s.uses {
		statement := code[bounds[s.statedIn[i]]:bounds[s.statedIn[i]+1]]
		s.uses[i].Tuned = tuneRE.MatchString(statement) || anywhere && strings.Contains(statement, "$")
	}
}

package gentoo

import (
	"errors"
	"regexp"
	"strings"
)

var safeWordRE = regexp.MustCompile(`^[A-Za-z0-9@%+=:,./_-]+$`)

// SplitWords splits a string into words as Python's shlex.split does, which emerge uses for
// EMERGE_DEFAULT_OPTS: blanks separate, single quotes hold everything, in double quotes a backslash escapes
// a double quote or a backslash only, outside it escapes any character.
func SplitWords(s string) ([]string, error) {
	var words []string
	var word strings.Builder
	inWord := false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case ' ', '\t', '\r', '\n':
			if inWord {
				words = append(words, word.String())
				word.Reset()
			}
			inWord = false
			continue
		case '\\':
			if i++; i == len(s) {
				return nil, errors.New("nothing after the last backslash")
			}
			word.WriteByte(s[i])
		case '\'', '"':
			end := quotedEnd(s, i)
			if end < 0 {
				return nil, errors.New("a quotation mark is not closed")
			}
			quoted := s[i+1 : end]
			if c == '"' {
				quoted = strings.NewReplacer(`\\`, `\`, `\"`, `"`).Replace(quoted)
			}
			word.WriteString(quoted)
			i = end
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// quotedEnd returns where the quotation that begins at start ends; -1 if it does not.
func quotedEnd(s string, start int) int {
	for i := start + 1; i < len(s); i++ {
		switch {
		case s[i] == s[start]:
			return i
		case s[i] == '\\' && s[start] == '"':
			i++
		}
	}
	return -1
}

// shellQuote quotes a word so that SplitWords, and a shell, read it back.
func shellQuote(word string) string {
	if safeWordRE.MatchString(word) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'"'"'`) + "'"
}

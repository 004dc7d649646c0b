package gentoo

import (
	"cmp"
	"regexp"
	"slices"
	"strings"
)

// WithoutCredentials returns a text of a configuration without the credentials in it: of a URL user:password@, which proxies may have
// without a scheme, too; values of options that are passwords, and of headers that authorise; what is assigned to names such as
// GITHUB_TOKEN; private keys; and tokens of known form. Everything else is as it was, so that a text without credentials comes back
// as it is. A credential that is a word of its own leaves a dash. Where a variable stands in the place of a credential nothing is taken: it is no secret. A text with NUL in it is none.
func WithoutCredentials(text string) string {
	if strings.IndexByte(text, 0) >= 0 {
		return text
	}
	for range maxPasses { // what is taken may have parted what is a credential as well
		spans := urlCredentials(text)
		lower := lowerASCII(text)
		for i := range credentialRules {
			for _, near := range credentialRules[i].near(lower) {
				spans = append(spans, credentialRules[i].find(text, near)...)
			}
		}
		if len(spans) == 0 {
			return text
		}
		text = without(text, spans)
	}
	return "" // nobody has written that
}

// maxPasses is how often credentials may hide credentials.
const maxPasses = 50

// span is a part of a text.
type span struct{ start, end int }

// blank stands in the place of a credential where something else would be taken for it then.
const blank = "-"

// without is a text without these parts.
func without(text string, spans []span) string {
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	var b strings.Builder
	at := 0
	for _, s := range spans {
		if s.start >= at {
			b.WriteString(text[at:s.start])
			if ownWord(text, s) || bareBeforeQuote(text, s) {
				b.WriteString(blank)
			}
		}
		at = max(at, s.end)
	}
	b.WriteString(text[at:])
	return b.String()
}

// ownWord reports whether a part of a text is a word that follows another one.
func ownWord(text string, s span) bool {
	return s.start > 0 && strings.IndexByte(" \t\n", text[s.start-1]) >= 0 &&
		(s.end == len(text) || strings.IndexByte(" \t\r\n\"'\\,;", text[s.end]) >= 0)
}

// bareBeforeQuote reports whether a part of a text is a bare value with a quotation mark after it, which is the end of what the value is
// in: without anything before it, it would be taken for the beginning of another value.
func bareBeforeQuote(text string, s span) bool {
	return s.start > 0 && text[s.start-1] == '=' && s.end < len(text) && (text[s.end] == '"' || text[s.end] == '\'')
}

// credentialRule finds credentials that follow a name.
type credentialRule struct {
	hints []string       // one of them is in each match, as lower case letters: looking for them is quick
	whole bool           // a match may be long
	re    *regexp.Regexp // each of its groups that takes part is a credential, unless it refers to a variable
}

func (r *credentialRule) find(text string, near span) (spans []span) {
	for _, m := range r.re.FindAllStringSubmatchIndex(text[near.start:near.end], -1) {
		for i := 2; i < len(m); i += 2 {
			s := span{near.start + m[i], near.start + m[i+1]}
			if m[i] == m[i+1] || text[s.start:s.end] == blank {
				continue
			}
			if reference(text[s.start:s.end]) { // and what is added to it is none, either
				break
			}
			spans = append(spans, s)
		}
	}
	return spans
}

// afterHint is how much of a text a match may take behind the line of its hint.
const afterHint = 512

// near are the parts of a text in which there can be matches, in order.
func (r *credentialRule) near(lower string) (parts []span) {
	for _, hint := range r.hints {
		line := span{0, -1} // that the last hint was in
		for at := 0; ; {
			i := strings.Index(lower[at:], hint)
			if i < 0 {
				break
			}
			if r.whole {
				return []span{{0, len(lower)}}
			}
			at += i + len(hint)
			if at <= line.end {
				continue
			}
			line = span{strings.LastIndexByte(lower[:at], '\n') + 1, len(lower)}
			if n := strings.IndexByte(lower[at:], '\n'); n >= 0 {
				line.end = at + n
			}
			parts = append(parts, span{line.start, min(len(lower), line.end+afterHint)})
		}
	}
	slices.SortFunc(parts, func(a, b span) int { return cmp.Compare(a.start, b.start) })
	joined := parts[:0]
	for _, p := range parts {
		if n := len(joined); n > 0 && p.start <= joined[n-1].end {
			joined[n-1].end = max(joined[n-1].end, p.end)
		} else {
			joined = append(joined, p)
		}
	}
	return joined
}

// lowerASCII is a text with small letters, of the same length.
func lowerASCII(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c >= 'A' && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

// Parts of the rules.
const (
	secretWord = `(?:passwo?r?d|passphrase|secret|token|api[_-]?key|access[_-]key|credentials?)`
	secretName = `(?:(?:\w[\w.-]*)?` + secretWord + `|(?:\w[\w.-]*[_.-])?pass|_auth)`
	// a value in quotation marks, which in a value that itself is quoted are escaped; or a bare word
	quoted   = `\\"([^"\n]*?)\\"|"((?:[^"\\]|\\.)*)"|'([^']*)'`
	quotedOr = `(?:` + quoted + `|`
	bare     = `((?:\\[^\s"']|[^\s"'\\])+))`
	bareItem = `((?:\\[^\s"']|\$\{[^}\s]*\}|[^\s"'\\&,;)\]}])+))` // in a list
	// what else a shell takes for the same word: what is quoted, or escaped. The quotation mark after a bare word may be the end of what
	// the word is in, so that there are no blanks up to the next one then.
	morePieces  = `|\\[^\s"']|(?:\\[ \t"'])*[^\s"'\\,;&|<>()\]}])+)?`
	afterQuoted = `((?:"[^"\n]*"|'[^'\n]*'` + morePieces
	afterBare   = `((?:"[^"\s]*"|'[^'\s]*'` + morePieces
)

var assignmentHints = []string{
	"pass", "secret", "token", "credential", "_auth", "api_key", "api-key", "apikey", "access_key", "access-key",
}

var credentialRules = []credentialRule{
	{ // NAME=value, as shells and env.d have it
		assignmentHints, false,
		regexp.MustCompile(`(?im)^[ \t;#]*(?:(?:export|local|readonly|set|declare(?:[ \t]+-\w+)*)[ \t]+)?` + secretName +
			`\+?=(?:(?:` + quoted + `)` + afterQuoted + `|(?:` + bare + afterBare + `)`),
	},
	{ // name = value to the end of the line, as ini files have it
		assignmentHints, false,
		regexp.MustCompile(`(?im)^[ \t;#]*` + secretName + `(?:[ \t]+=[ \t]*|=[ \t]+)([^=>\s][^\n]*)`),
	},
	{ // within a line: mount options, queries of URLs
		assignmentHints, false,
		regexp.MustCompile(`(?im)(?:^|[\s,;&?"':])` + secretName + `=` + quotedOr + bareItem),
	},
	{ // name: value, as YAML and JSON have it; but passwd: is a line of nsswitch.conf
		assignmentHints, false,
		regexp.MustCompile(`(?im)^[ \t"'{-]*(?:\w[\w.-]*)?(?:password|passphrase|secret|token|api[_-]?key|access[_-]key)["']?[ \t]*:[ \t]+` + quotedOr + bareItem),
	},
	{ // "name":"value", as JSON has it without blanks and anywhere in a line
		assignmentHints, false,
		regexp.MustCompile(`(?im)(?:^|[{,])[ \t]*\\?["']` + secretName + `\\?["'][ \t]*:[ \t]*(?:` + quoted + `)`),
	},
	{ // --http-password=value
		append([]string{"bearer", "cookie"}, assignmentHints...), false,
		regexp.MustCompile(`(?i)(?:^|[\s"'=])--(?:[\w-]*` + secretWord + `|(?:[\w-]*-)?(?:pass|bearer|cookie))=` + quotedOr + bare),
	},
	{ // --password value
		[]string{"pass", "bearer", "cookie", "token"},
		false,
		regexp.MustCompile(`(?i)(?:^|[\s"'=])--(?:(?:https?|ftp|proxy|all-proxy|tls|proxy-tls)-?)?(?:passwo?r?d|pass|oauth2-bearer|cookie|token)` +
			`[ \t]+` + quotedOr + `((?:\\[^\s"']|[^\s"'\\-])(?:\\[^\s"']|[^\s"'\\])*))`),
	},
	{ // --user name:password
		[]string{"-user"},
		false,
		regexp.MustCompile(`(?i)--(?:proxy-)?user[= \t]+(?:\\?["'])?[^\s:"'\\]*:((?:\\[^\s"']|[^\s"'\\])+)`),
	},
	{ // likewise curl's -u, which may be the last of several, lftp's with a comma, and sshpass
		[]string{"curl", "lftp", "sshpass"},
		false,
		regexp.MustCompile(`(?i)(?:[ \t]-(?:u[ \t]*|[a-z#\d]+u[ \t]+)(?:\\?["'])?[^\s:,"'\\]*[:,]|\bsshpass[ \t]+-p[ \t]*(?:\\?["'])?)` +
			`((?:\\[^\s"']|[^\s"'\\-])(?:\\[^\s"']|[^\s"'\\])*)`),
	},
	{ // header: value
		[]string{"authorization", "cookie", "x-", "-token"},
		false,
		regexp.MustCompile(`(?i)\b(?:authorization|cookie|x-[\w-]*(?:token|key|secret|auth)[\w-]*|[\w-]+-token)[ \t]*:[ \t]*` +
			`((?:\\[^"'\s]|[^"'\\\s])(?:\\[^"'\n]|[^"'\\\n])*)`),
	},
	{ // proxy=user:password@host, without a scheme
		[]string{"proxy"},
		false,
		regexp.MustCompile(`(?i)proxy["']?(?:[ \t]*=[ \t]*|[ \t]+)(?:\\?["'])?([^\s"'/@:\\]+:[^\s"'@/][^\s"'@]*@)`),
	},
	{ // netrc(5)
		[]string{"login"},
		false,
		regexp.MustCompile(`(?i)\blogin\s+\S+\s+(?:account\s+\S+\s+)?password\s+(\S+)`),
	},
	{ // private keys, to the end of the text where the key's is missing
		[]string{"private key"},
		true,
		regexp.MustCompile(`(?s)(-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:.*?-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----|.*))`),
	},
	{
		[]string{"ghp_", "gho_", "ghu_", "ghs_", "ghr_", "github_pat_", "glpat-", "xox", "akia", "age-secret-key-"},
		false,
		regexp.MustCompile(`\b(gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abeprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}` +
			`|AGE-SECRET-KEY-1[0-9A-Z]+)`),
	},
}

var (
	variablesRE = regexp.MustCompile(`^(?:\\?\$(?:\w+|\{\w+\})[:/@.,_-]?)+$|^%\(\w+\)s$`)
	// a statement of a program, such as a patch has them
	statementRE = regexp.MustCompile(`^[A-Za-z_][\w.>-]*(?:\(.*\);?|;)$`)
	// an expansion that takes a variable apart, unless it has a default: that is a value
	expansionRE = regexp.MustCompile(`^\\?\$\{[!#]?\w+(?:\[[^\]]*\])?(?:[#%/^,@}]|:\s*[\d$-]?[\d$])`)
)

// reference reports whether a value is none, but says where it comes from: a variable, the output of a command, a list of words.
func reference(value string) bool {
	return variablesRE.MatchString(value) || statementRE.MatchString(value) || expansionRE.MatchString(value) || strings.HasPrefix(value, "$(") ||
		strings.HasPrefix(value, "`") || strings.HasPrefix(value, "(")
}

// urlCredentials finds user:password@ in URLs, and of web servers user@ as well, which may be a token.
func urlCredentials(text string) (spans []span) {
	for at := 0; ; {
		i := strings.Index(text[at:], "://")
		if i < 0 {
			return spans
		}
		scheme, start := schemeBefore(text, at+i)
		at += i + len("://")
		var quote byte
		if s := at - len("://") - len(scheme); s > 0 {
			quote = text[s-1]
		}
		whole, authority := urlWord(text[at:], quote)
		if scheme == "" && !start {
			continue
		}
		if n := userInfo(whole, authority, strings.HasPrefix(scheme, "http")); n > 0 {
			spans = append(spans, span{at, at + n})
			at += n
		}
	}
}

// schemeBefore is the scheme that ends at end, in lower case; ok tells that something stands there.
func schemeBefore(text string, end int) (scheme string, ok bool) {
	i := end
	for i > max(0, end-32) && (isAlnum(text[i-1]) || strings.IndexByte("+.-", text[i-1]) >= 0) {
		i--
	}
	return strings.ToLower(text[i:end]), i < end || i > 0 && strings.IndexByte(")}", text[i-1]) >= 0 // ${scheme}
}

func isAlnum(c byte) bool { return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z' }

// maxURL is more than a URL has.
const maxURL = 2048

// urlWord is what follows :// in a text to the end of the word, and how much of it can be the authority. quote is what stands before
// the URL.
func urlWord(text string, quote byte) (word string, authority int) {
	authority = -1
	text = text[:min(len(text), maxURL)]
	end := len(text)
loop:
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c <= ' ' || c == '"' || c == '<' || c == '>' || c == '`' || c == quote && quote == '\'':
			end = i
			break loop
		case c == '\\' && (i+1 == len(text) || text[i+1] == '"' || text[i+1] == '\n'):
			end = i
			break loop
		case c == '$' && i+1 < len(text) && text[i+1] == '{': // an expansion is one character of the word
			if n := strings.IndexByte(text[i:], '}'); n > 0 && !strings.ContainsAny(text[i:i+n], " \t\n\"") {
				i += n
			}
		case (c == '/' || c == '?' || c == '#') && authority < 0:
			authority = i
		}
	}
	if authority < 0 {
		authority = end
	}
	return text[:end], authority
}

// userInfo is how much of a URL's word is credentials, with the @ after them; 0: nothing.
func userInfo(word string, authority int, web bool) int {
	at := strings.LastIndexByte(word[:authority], '@')
	if at < 0 { // no program takes a password with a slash in it, and people write it
		port := strings.IndexByte(word[:authority], ':')
		at = strings.IndexByte(word, '@')
		if port < 0 || at < 0 || strings.Trim(word[port+1:authority], "0123456789") == "" || strings.ContainsAny(word[:at], "$") ||
			strings.Contains(word[:at], "://") || strings.ContainsAny(word[:port], "[,") {
			return 0
		}
		return at + 1
	}
	user, password, both := strings.Cut(word[:at], ":")
	switch {
	case !both && !web, !both && reference(user): // ssh://git@host
		return 0
	case both && password == "" && (!web || user == "" || reference(user)):
		return 0
	case both && password != "" && reference(password):
		return 0
	case at == 0:
		return 0
	}
	return at + 1
}

package lab

import (
	"compress/bzip2"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"lantage/gentoo"
)

// TestManualPages holds that gentoo's tables know every variable, every one of FEATURES and every option of the Portage that
// hosts have: what its manual pages describe.
func TestManualPages(t *testing.T) {
	base, err := Base(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	conf := readManual(t, base, "man5/make.conf.5")
	variables, features := confNames(conf)
	emerge := readManual(t, base, "man1/emerge.1")
	variables = append(variables, confVariables(section(emerge, "ENVIRONMENT OPTIONS"))...)
	variables = append(variables, confVariables(section(emerge, "PORTAGE DEVELOPMENT FEATURES"))...)
	options := append(emergeNames(section(emerge, "OPTIONS")), emergeNames(section(emerge, "ACTIONS"))...)

	for _, c := range []struct {
		what  string
		found []string
		least int // what Portage 3.0.83 has, less some that may go
		some  []string
		whose func(string) gentoo.Whose
	}{
		{
			"variable", variables, 115,
			[]string{"CFLAGS", "CXXFLAGS", "QA_STRICT_TEXTRELS", "http_proxy", "BINPKG_GPG_SIGNING_DIGEST", "EPREFIX"},
			gentoo.WhoseVariable,
		},
		{"one of FEATURES", features, 90, []string{"splitdebug", "binpkg-request-signature", "xattr"}, gentoo.WhoseFeature},
		{"option", options, 130, []string{"--ask", "--exclude", "--jobs", "--with-test-deps", "--unmerge"}, gentoo.WhoseOption},
	} {
		if len(c.found) < c.least {
			t.Errorf("only %d names were read from the page for %s: %q", len(c.found), c.what, c.found)
		}
		for _, name := range c.some {
			if !slices.Contains(c.found, name) {
				t.Errorf("%s %s was not read from the page", c.what, name)
			}
		}
		slices.Sort(c.found)
		for _, name := range slices.Compact(c.found) {
			if c.whose(name) == gentoo.Unknown {
				t.Errorf("%s %s of the manual page is in no table of package gentoo", c.what, name)
			}
		}
	}
}

// readManual returns a manual page of the base, which on Gentoo is compressed.
func readManual(t *testing.T, base, page string) string {
	t.Helper()
	for suffix, open := range map[string]func(io.Reader) (io.Reader, error){
		"":     func(r io.Reader) (io.Reader, error) { return r, nil },
		".bz2": func(r io.Reader) (io.Reader, error) { return bzip2.NewReader(r), nil },
		".gz":  func(r io.Reader) (io.Reader, error) { return gzip.NewReader(r) },
		".zst": func(r io.Reader) (io.Reader, error) { return zstd.NewReader(r) },
	} {
		f, err := os.Open(filepath.Join(base, "usr/share/man", page+suffix))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		r, err := open(f)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatalf("%s%s: %v", page, suffix, err)
		}
		return strings.ReplaceAll(string(text), `\-`, "-")
	}
	t.Fatalf("Portage's manual page %s is not below %s (FEATURES=noman?)", page, filepath.Join(base, "usr/share/man"))
	return ""
}

// section returns what stands below a heading of a manual page.
func section(page, heading string) string {
	_, text, _ := strings.Cut(page, `.SH "`+heading+"\"\n")
	text, _, _ = strings.Cut(text, "\n.SH ")
	return text
}

var (
	assignedRE = regexp.MustCompile(`^\\fB([A-Za-z_][A-Za-z0-9_ ]*(?:\[format\])?)=?(?:\\fR)? =`) // \fBNAME NAME\fR = \fI…
	namedRE    = regexp.MustCompile(`^\.BR? ([A-Za-z_][A-Z0-9_ ]+)$`)                             // .B NAME NAME
	featureRE  = regexp.MustCompile(`^\.B ([a-z][a-z-]*)$`)                                       // .B feature
	optionRE   = regexp.MustCompile(`--[a-z][a-z-]*`)
)

// tagged calls fn with the tag of every paragraph (.TP), and how deep in lists (.RS, .RE) it is.
func tagged(text string, fn func(depth int, tag string)) {
	depth, next := 0, false
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n")
		switch {
		case line == ".RS":
			depth++
		case line == ".RE":
			depth--
		case line == ".TP":
			next = true
			continue
		case next:
			fn(depth, line)
		}
		next = false
	}
}

// confVariables reads the variables of a section: tags of the outermost list.
func confVariables(text string) (variables []string) {
	tagged(text, func(depth int, tag string) {
		m := assignedRE.FindStringSubmatch(tag)
		if m == nil {
			m = namedRE.FindStringSubmatch(tag)
		}
		if depth == 0 && m != nil {
			variables = append(variables, strings.Fields(strings.ReplaceAll(m[1], "[format]", "ZSTD"))...)
		}
	})
	return variables
}

// confNames reads make.conf(5): the variables, and the list in the paragraph of FEATURES.
func confNames(page string) (variables, features []string) {
	text := section(page, "VARIABLES")
	in := ""
	tagged(text, func(depth int, tag string) {
		if depth == 0 {
			in = tag
		}
		if m := featureRE.FindStringSubmatch(tag); m != nil && depth == 1 && strings.Contains(in, "FEATURES") {
			features = append(features, m[1])
		}
	})
	return confVariables(text), features
}

// emergeNames reads the long options of a section.
func emergeNames(text string) (options []string) {
	tagged(text, func(depth int, tag string) {
		if depth == 0 && strings.HasPrefix(tag, ".BR ") {
			options = append(options, optionRE.FindAllString(tag, -1)...)
		}
	})
	return options
}

package gentoo

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseScript(t *testing.T) {
	got := ParseScript(`# f() {
EAPI=8
if [[ ${EAPI} == 8 ]]; then
	inner() {
		a
	}
fi
one() { b; }
src_configure() {
	econf \
		--x \
		--y
	if c; then
		d
	fi
	cat <<-EOF >x.c || die
		int main(void) {
	}
	EOF
	# comment
	n=$(( 1 << shift ))
	read -r z <<<word
}
function other {
	e
}
third()
{
	f "a\\"
}
sub() (
	g
)
one() {
	h
}
lost() {
	i
`)
	line := func(texts ...string) (lines []ScriptLine) {
		for _, text := range texts {
			lines = append(lines, ScriptLine{Text: text})
		}
		return lines
	}
	want := Script{
		Functions: map[string][]ScriptLine{
			"inner": line("\t\ta"),
			"one":   append(line("b; "), line("\th")...),
			"src_configure": append(append(line("\teconf  --x  --y", "\tif c; then", "\t\td", "\tfi", "\tcat <<-EOF >x.c || die"),
				ScriptLine{"\t\tint main(void) {", true}, ScriptLine{"\t}", true}),
				line("\tn=$(( 1 << shift ))", "\tread -r z <<<word")...),
			"other": line("\te"),
			"third": line(`	f "a\\"`),
			"sub":   line("\tg"),
		},
		Rest: line("EAPI=8", "if [[ ${EAPI} == 8 ]]; then", "fi", "lost() {", "\ti", ""),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	for _, text := range []string{"f()", "f()\n", "f() {", "cat <<EOF", "EOF\n<<EOF <<EOF\nEOF", "\\", "f()\n\\\n"} {
		ParseScript(text) // whatever is in a file, it ends
	}
}

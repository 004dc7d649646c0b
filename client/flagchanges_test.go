package client

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Eclasses in the form of those that most packages have, with what made mistakes of a search for words.
var flagEclasses = map[string]string{
	"flag-o-matic": `
inherit toolchain-funcs
all-flag-vars() {
	echo {ADA,C,CPP,CXX,CCAS,F,FC,LD}FLAGS
}
_filter-var() {
	local var=$1 new=()
	export ${var}="${new[*]}"
}
filter-flags() {
	local v
	for v in $(all-flag-vars) ; do
		_filter-var ${v} "$@"
	done
}
append-cppflags() {
	export CPPFLAGS+=" $*"
}
append-cflags() {
	export CFLAGS+=" $*"
}
append-flags() {
	append-cflags "$@"
}
append-lfs-flags() {
	append-cppflags -D_FILE_OFFSET_BITS=64
}
replace-cpu-flags() {
	filter-flags "-march=${1}"
}
append-atomic-flags() {
	append-libs "-Wl,--as-needed,-latomic"
}
`,
	"toolchain-funcs": `
inherit multilib
tc-getPROG() {
	export ${1}="${2}"
	echo "${!1}"
}
tc-getCC() { tc-getPROG CC gcc "$@"; }
tc-export() {
	local var
	for var in "$@" ; do
		eval tc-get${var} > /dev/null
	done
}
tc-export_build_env() {
	: "${BUILD_CFLAGS:=${CFLAGS}}"
	export BUILD_{C,CXX,CPP,LD}FLAGS
	local v
	for v in BUILD_{C,CXX,CPP,LD}FLAGS ; do
		export ${v#BUILD_}_FOR_BUILD="${!v}"
	done
}
tc-env_build() {
	tc-export_build_env
	CFLAGS=${BUILD_CFLAGS} \
	LDFLAGS=${BUILD_LDFLAGS} \
	CC=$(tc-getCC) \
	"$@"
}
econf_build() {
	econf_env() { CHOST=${CBUILD} econf "$@"; }
	tc-env_build econf_env "$@"
}
tc-ld-force-bfd() {
	if tc-getCC ; then
		export LDFLAGS="${LDFLAGS} -fuse-ld=bfd"
	fi
}
`,
	"multilib": `
export CFLAGS_default
export LDFLAGS_default
# CFLAGS=$(get_abi_var CFLAGS sparc32) # CFLAGS=-m32
get_abi_CFLAGS() { echo ${CFLAGS_default}; }
multilib_env() {
	case ${1} in
		riscv64*)
			export CFLAGS_lp64d=${CFLAGS_lp64d--mabi=lp64d -march=rv64gc}
			;;
	esac
}
multilib_toolchain_setup() {
	local save_restore_variables=(
		CBUILD
		CC
	)
	for v in "${save_restore_variables[@]}" ; do
		[[ ${!v+set} == "set" ]] && export ${v}="${!v}" || unset ${v}
	done
	export CC="$(tc-getCC) $(get_abi_CFLAGS)"
}
`,
	"multilib-minimal": `
multilib-minimal_src_configure() {
	multilib-minimal_abi_src_configure() {
		multilib_toolchain_setup
		if declare -f multilib_src_configure >/dev/null ; then
			multilib_src_configure
		fi
	}
	multilib_foreach_abi multilib-minimal_abi_src_configure
}
`,
	"meson": `
setup_meson_src_configure() {
	MESONARGS=()
	if tc-is-lto; then
		filter-lto
	fi
	local BUILD_CFLAGS=${BUILD_CFLAGS}
	: "${BUILD_CFLAGS:=${CFLAGS}}"
	cat > "${fn}" <<-EOF || die
	c_args = $(_meson_env_array "${CFLAGS}")
	EOF
}
meson_src_configure() {
	(
		setup_meson_src_configure "$@"
		export -n {C,CPP,CXX,F,OBJC,OBJCXX,LD}FLAGS PKG_CONFIG_{LIBDIR,PATH}
		meson setup "${MESONARGS[@]}"
	)
	local rv=$?
}
`,
	"cmake": `
cmake_src_configure() {
	# Prepare Gentoo override rules (set valid compiler, append CPPFLAGS etc.)
	cat > x <<- _EOF_ || die
		CFLAGS=x
	_EOF_
	local -x ASMFLAGS=${CFLAGS}
	eval "local -a MYCMAKEARGS=( ${MYCMAKEARGS} )"
}
`,
	"cargo": `
cargo_env() {
	# Shadows the variables.
	local flag
	for flag in $(all-flag-vars); do
		local -x "${flag}=${!flag}"
	done
	filter-lto
	tc-export AR CC CXX PKG_CONFIG
	"${@}"
}
cargo_src_compile() {
	cargo_env cargo build || die
}
`,
	"distutils-r1": `
distutils_pep517_install() {
	local -x CFLAGS="${CFLAGS} ${CPPFLAGS}"
	append-cflags -x
}
distutils-r1_src_compile() {
	distutils_pep517_install
}
`,
	"go-env": `
go-env_set_compile_environment() {
	export CGO_CFLAGS="${CGO_CFLAGS:-$CFLAGS}"
	export CGO_LDFLAGS="${CGO_LDFLAGS:-$LDFLAGS}"
}
`,
	"qmake-utils": `
eqmake5() {
	local qmake_args=(
		CFLAGS="${CFLAGS}"
		QMAKE_LFLAGS="${LDFLAGS}"
	)
	qmake \
		QMAKE_CXXFLAGS="${CXXFLAGS}" \
		CXXFLAGS="${CXXFLAGS}"
}
`,
	"dot-a": `
lto-guarantee-fat() {
	tc-is-lto || return
	append-flags $(test-flags-CC -ffat-lto-objects)
}
`,
	"toolchain": `
toolchain_src_configure() {
	downgrade_arch_flags
	strip-flags
}
downgrade_arch_flags() {
	replace-cpu-flags x86-64-v4 x86-64-v3
}
toolchain_pkg_postinst() {
	append-ldflags -x
}
`,
	"qt": `
qt_src_prepare() {
	_qt_sanitize_cpu_flags
}
_qt_sanitize_cpu_flags() {
	local march=$(
		$(tc-getCXX) -E -P ${CXXFLAGS} - <<-EOF | tail -n 1
			#if __SSE3__
			-march=x86-64-v2
			#endif
		EOF
	)
	filter-flags '-march=*'
	append-flags $(test-flags-CXX "${march}")
}
`,
	"ruby": `
ruby_src_compile() {
	each_implementation "each_ruby_${EBUILD_PHASE}"
}
each_ruby_compile() {
	append-cflags -x
}
`,
	"delegates": `
delegates_src_configure() {
	${BUILD_SYSTEM}_src_configure
}
`,
	"fortifies": `
CXXFLAGS+=" -DX"
`,
	"both": `
both_src_compile() {
	local x
	for x in CFLAGS CXXFLAGS; do
		export "${x}=${!x} -fx"
	done
	unset {C,LD}FLAGS_x
}
`,
}

// TestFlagChanges: what a package's build may change of its flags is read from what its phases call.
func TestFlagChanges(t *testing.T) {
	const libs, all = "flag-o-matic toolchain-funcs multilib ", "ASFLAGS CFLAGS CXXFLAGS LDFLAGS LIBCFLAGS LIBCXXFLAGS"
	for name, c := range map[string]struct {
		inherited, ebuild string
		want              string // changed variables, those that may get another machine with a *
	}{
		"nothing": {"", "", ""},
		"eclasses of functions": {
			libs + "dot-a go-env qmake-utils", "src_compile() {\n\ttc-export CC\n\tgo-env_set_compile_environment; eqmake5\n}\n", "",
		},
		"multilib-minimal":              {libs + "multilib-minimal", "multilib_src_configure() {\n\teconf\n}\n", ""},
		"of one ABI":                    {libs + "multilib-minimal", "multilib_src_configure() {\n\tappend-cflags -x\n}\n", "CFLAGS"},
		"meson: a subshell":             {libs + "meson", "", ""},
		"meson's setup, called by hand": {libs + "meson", "src_configure() {\n\tsetup_meson_src_configure\n}\n", "CFLAGS CXXFLAGS LDFLAGS"},
		"cmake":                         {libs + "cmake", "", ""},
		"cargo: shadowed":               {libs + "cargo", "", ""},
		"distutils: local":              {libs + "distutils-r1", "", ""},
		"an unused phase of an eclass":  {libs + "toolchain", "src_configure() { econf; }\n", ""},
		"its phase, called":             {libs + "toolchain", "src_configure() { toolchain_src_configure; }\n", "CFLAGS* CXXFLAGS* LDFLAGS*"},
		"its phase, inherited":          {libs + "toolchain", "", "CFLAGS* CXXFLAGS* LDFLAGS*"},
		"a machine that is printed":     {libs + "qt", "", "CFLAGS* CXXFLAGS* LDFLAGS*"},
		"names with a phase in them":    {libs + "ruby", "", "CFLAGS"},
		"of another eclass":             {libs + "delegates toolchain", "src_configure() { delegates_src_configure; }\n", "CFLAGS* CXXFLAGS* LDFLAGS*"},
		"flags of a language":           {libs, "src_configure() { append-${x}flags -y; }\n", "CFLAGS CXXFLAGS LDFLAGS"},
		"outside of functions":          {"fortifies", "", "CXXFLAGS"},
		"names in a list":               {"both", "", "CFLAGS CXXFLAGS"},
		"lto-guarantee-fat":             {libs + "dot-a", "src_configure() {\n\tlto-guarantee-fat\n}\n", "CFLAGS CXXFLAGS"},
		"tc-ld-force-bfd":               {libs, "src_configure() {\n\ttc-ld-force-bfd\n}\n", "LDFLAGS"},
		"econf_build":                   {libs, "src_configure() { econf_build; }\n", "CFLAGS LDFLAGS"},
		"strip-flags":                   {libs, "src_configure() { strip-flags; }\n", "CFLAGS CXXFLAGS LDFLAGS"},
		"not of what is recorded":       {libs, "src_configure() { append-cppflags -x; append-lfs-flags; append-atomic-flags; append-fflags -x; }\n", ""},
		"a machine":                     {libs, "src_configure() { use x && append-flags -march=armv8-a+crc; }\n", "CFLAGS* CXXFLAGS*"},
		"a machine in a variable":       {libs, "src_configure() {\n\tlocal f=-mcpu=v8\n\tCXXFLAGS+=\" ${f}\"\n}\n", "CXXFLAGS*"},
		"a machine that is asked for":   {libs, "src_configure() { is-flagq -march=x && append-cflags -y; }\n", "CFLAGS"},
		"a machine is taken away":       {libs, "src_configure() { filter-flags -march=*; }\n", "CFLAGS CXXFLAGS LDFLAGS"},
		"a machine for a program":       {libs, "src_compile() { emake ARCH=\"-march=x\"; }\n", ""},
		"a machine of another package":  {libs, "# -march=x\nsrc_configure() { append-cflags -y; }\n", "CFLAGS"},
		"after the build":               {libs, "pkg_postinst() {\n\tappend-cflags -y\n}\n", ""},
		"arguments": {
			"", "src_compile() {\n\temake \\\n\t\tCFLAGS=\"${CFLAGS}\" \\\n\t\tLDFLAGS=x\n" +
				"\tsed -e \"s/^CFLAGS=.*//;s|LDFLAGS=||\" -i x\n}\n", "",
		},
		"an assignment": {
			"", "src_compile() {\n\tif x; then CFLAGS=y; fi\n\tuse z && LDFLAGS+=w\n\tcase x in\n\t*) CXXFLAGS=;;\n\tesac\n}\n",
			"CFLAGS CXXFLAGS LDFLAGS",
		},
		"an export":                   {"", "src_compile() {\n\texport CC=x CFLAGS=\"${CFLAGS} y\"\n\texport LDFLAGS\n}\n", "CFLAGS"},
		"unset":                       {"", "src_compile() {\n\tunset CFLAGS LDFLAGS\n}\n", "CFLAGS LDFLAGS"},
		"all unset":                   {"", "src_compile() {\n\tunset {C,CXX}FLAGS\n}\n", all},
		"a name that is put together": {"", "src_compile() {\n\tlocal v\n\tfor v in {C,CXX}FLAGS; do\n\t\teval \"${v}+=x\"\n\tdone\n}\n", all},
		"local in a branch only":      {libs, "src_compile() {\n\tif x; then\n\t\tlocal CFLAGS=x\n\tfi\n\tappend-cflags -y\n}\n", "CFLAGS"},
		"a default":                   {"", "src_compile() {\n\t: \"${CFLAGS:=-O2}\"\n}\n", "CFLAGS"},
	} {
		eclasses := map[string]*flagScript{}
		for _, e := range strings.Fields(c.inherited) {
			eclasses[e] = parseFlagScript(flagEclasses[e])
		}
		if got := shownChanges(changesOf(parseFlagScript(c.ebuild), eclasses, nil)); got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func shownChanges(c flagChanges) string {
	var list []string
	for i, name := range recordedVariables {
		if c.some&(1<<i) != 0 {
			if c.machine&(1<<i) != 0 {
				name += "*"
			}
			list = append(list, name)
		}
	}
	return strings.Join(list, " ")
}

// TestHooksAndFlags: what bash reads of the user's counts as well, and where that cannot be known nothing is judged.
func TestHooksAndFlags(t *testing.T) {
	for name, c := range map[string]struct {
		files  map[string]string // below etc/portage/env
		bashrc string
		want   string
	}{
		"none":             {nil, "", ""},
		"the name":         {map[string]string{"lab/b": "CFLAGS=x\n"}, "", "CFLAGS"},
		"its slot":         {map[string]string{"lab/b:0": "CFLAGS=x\n"}, "", "CFLAGS"},
		"no sub-slot":      {map[string]string{"lab/b:0/2": "CFLAGS=x\n"}, "", ""},
		"its version":      {map[string]string{"lab/b-2": "CFLAGS=x\n"}, "", "CFLAGS"},
		"with a revision":  {map[string]string{"lab/b-2-r1": "CFLAGS=x\n"}, "", "CFLAGS"},
		"another revision": {map[string]string{"lab/b-2-r2": "CFLAGS=x\n"}, "", ""},
		"a hook":           {nil, "post_src_prepare() {\n\tappend-ldflags -x\n}\n", "LDFLAGS"},
		"it reads another": {map[string]string{"lab/b": ". /etc/portage/x\n"}, "", "not judged"},
		"a file by name":   {nil, "source /etc/portage/x\n", ""}, // which findFlagFiles follows
		"a tree of files":  {nil, "for f in /etc/portage/bashrc.d/*; do\n\t. \"${f}\"\ndone\n", "not judged"},
		"under a condition": {
			nil, "[[ -r ${PORTAGE_CONFIGROOT}/x ]] && . \"${PORTAGE_CONFIGROOT}/x\"\n", "not judged",
		},
	} {
		f := testFacts("lab/b-2-r1")
		pr, _ := testProof(t, f)
		pr.config, pr.bashrc = t.TempDir(), c.bashrc
		for file, text := range c.files {
			path := filepath.Join(pr.config, "env", file)
			if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		changes, judged := pr.changes(f, testEbuild)
		got := shownChanges(changes)
		if !judged {
			got = "not judged"
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

// TestFlagsOfEachVariable: an ebuild that changes one variable leaves the comparison of the others alone.
func TestFlagsOfEachVariable(t *testing.T) {
	pr, cpv := testProof(t, testFacts("lab/b-2"))
	ebuild := "src_configure() {\n\tappend-ldflags -x\n}\n"
	if err := os.WriteFile(filepath.Join(pr.repos[0].Location, cpv.CP(), cpv.PF()+".ebuild"), []byte(ebuild), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := pr.expect(cpv)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]comparison{}
	for _, x := range list {
		if strings.HasSuffix(x.key, "FLAGS") {
			got[x.key] = x.how
		}
	}
	want := map[string]comparison{
		"ASFLAGS": exactly, "CFLAGS": exactly, "CXXFLAGS": exactly, "LDFLAGS": machineOf, "LIBCFLAGS": exactly, "LIBCXXFLAGS": exactly,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Notes down which settings it was built with"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="~amd64 ~arm64"
IUSE="forced shout"
RESTRICT="bindist"

# Prints one of FEATURES if it is on.
print_feature() {
	has "$1" ${FEATURES} && echo -n "$1 "
}

src_compile() {
	cat > settings.c <<-EOF || die
		int main(void) { return 0; }
	EOF
	"${CC:-${CHOST}-gcc}" ${CFLAGS} ${LDFLAGS} -o lab-settings settings.c || die

	# What is the client's.
	local saved=${PORTAGE_CONFIGROOT%/}/etc/portage/savedconfig/${CATEGORY}/${PF}
	{
		echo "use: $(usev forced) $(usev shout)"
		echo "cflags: ${CFLAGS}"
		echo "profile: ${LAB_PROFILE:-none}"
		echo "savedconfig: $(cat "${saved}" 2> /dev/null)"
		echo "tested: no"
	} > client || die

	# What is the builder's.
	{
		echo "makeopts: ${MAKEOPTS} ${MAKEFLAGS}"
		echo "tmpdir: ${PORTAGE_TMPDIR}"
		echo "ccache: ${CCACHE_DIR} ${CCACHE_DISABLE}"
		echo "features: $(for word in ccache distlocks keepwork; do print_feature ${word}; done)"
		echo "nice: $(nice)"
		echo "policy: $(cut -d ' ' -f 41 /proc/self/stat)"
		echo "ionice: $(cat /tmp/lab-ionice 2> /dev/null)"
		echo "proxy: ${http_proxy}"
		echo "user: $(id -un) $(id -gn)"
	} > builder || die
}

src_test() {
	sed -i 's/^tested: .*/tested: yes/' client || die
}

src_install() {
	dobin lab-settings
	insinto /usr/share/lab-settings
	doins client builder
}

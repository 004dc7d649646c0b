# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Notes down what builds ask the machine that they run on"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# What programs write into what they make. The number of CPUs and the kernel's release are the builder's.
machine() {
	echo "phase ${EBUILD_PHASE}, umask $(umask), user $(id -u):$(id -g), groups $(id -G)"
	echo "host $(hostname), $(uname -n), ${HOSTNAME}, machine $(uname -m), $(getconf LONG_BIT) bits"
	date -d @0
	locale
	echo "sorted $(printf '%s\n' b A a B | sort | tr -d '\n')"
	echo "limits $(ulimit -c) $(ulimit -s)"
	# But for what is about the run of emerge, or about the machine and told elsewhere.
	env | grep -Ev '^(EBUILD_MASTER_PID|FEATURES|GNUMAKEFLAGS|MAKEOPTS|MERGE_TYPE|NOCOLOR|NO_COLOR|OLDPWD|PKGDIR|PORTAGE_[A-Z_]*|TERM|_)=' | sort
	"${CHOST}-gcc" ${CFLAGS} -Q --help=target --help=params | cksum
	"${CHOST}-gcc" ${CFLAGS} -dM -E -x c /dev/null | sort
}

# In the other phases FEATURES=network-sandbox calls every machine "localhost".
pkg_setup() {
	[[ ${MERGE_TYPE} == binary ]] || machine > "${T}"/setup || die
}

src_configure() {
	machine > configure || die
}

src_compile() {
	machine > compile || die
}

src_install() {
	machine > "${T}"/install || die
	insinto /usr/share/lab-machine
	doins configure compile "${T}"/setup "${T}"/install
	mkdir "${ED}"/usr/share/lab-machine/by-umask || die
	: > "${ED}"/usr/share/lab-machine/by-umask/file || die
}

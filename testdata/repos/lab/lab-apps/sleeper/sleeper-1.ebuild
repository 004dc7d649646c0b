# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Waits in src_compile, so that a test can interrupt it"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"
# escape: also leave a process in a session of its own, which no signal to the
# build's process group reaches.
IUSE="escape"

# LAB_SLEEP comes from /etc/portage/env through package.env: how many seconds to
# wait. A test takes a number of its own and looks for "sleep NUMBER" among the
# processes. The escaped process sleeps for one second more, which tells them apart.
src_compile() {
	local seconds="${LAB_SLEEP:-600}"
	echo "lab: sleeping for ${seconds} s"
	if use escape; then
		setsid sleep "$((seconds + 1))" < /dev/null &> /dev/null &
	fi
	sleep "${seconds}" || die
}

src_install() {
	insinto /usr/share/lab-sleeper
	newins - slept <<< "${LAB_SLEEP:-600}"
}

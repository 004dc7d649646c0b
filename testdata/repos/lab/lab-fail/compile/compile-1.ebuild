# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Fails in src_compile after much output, with terminal control sequences in it"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	local i
	for i in {1..300}; do
		printf 'lab: compiling file %d of 300\n' "${i}"
	done
	printf '\e[31mred text\e[0m and a \e]0;new window title\a title\n'
	printf 'progress 10%%\rprogress 99%%\n'
	printf 'clear the screen: \e[2J\e[H and beep: \a\n'
	printf 'not UTF-8: \xff\xfe\n'
	echo 'lab.c:12:7: error: the lab wants this to fail' >&2
	die "the lab wants this to fail"
}

# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Prints what package.env and bashrc said when it was compiled"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

# LAB_NOTE: from /etc/portage/env through package.env.
# LAB_BASHRC: from /etc/portage/bashrc.
src_compile() {
	cat > environ.sh <<-EOF || die
		#!/bin/sh
		echo "note: ${LAB_NOTE:-none}"
		echo "bashrc: ${LAB_BASHRC:-none}"
		echo "cflags: ${CFLAGS}"
	EOF
}

src_install() {
	newbin environ.sh lab-environ
}

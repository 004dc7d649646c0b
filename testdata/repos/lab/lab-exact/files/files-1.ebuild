# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Many files of every kind that a package can have"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_install() {
	local dir="${ED}/usr/share/lab-files" i deep
	mkdir -p "${dir}"/many "${dir}"/empty || die
	for i in {1..300}; do
		echo "${i}" > "${dir}/many/${i}" || die
	done
	chmod 0600 "${dir}"/many/1 || die
	chmod 6755 "${dir}"/many/2 || die
	chown portage:nogroup "${dir}"/many/3 || die
	chown 4321:1234 "${dir}"/many/4 || die
	chmod 2775 "${dir}"/empty || die

	# The first name of a hard link is that which sorts first, whatever was made first.
	echo shared > "${dir}"/z-hard || die
	ln "${dir}"/z-hard "${dir}"/a-hard || die
	ln "${dir}"/z-hard "${dir}"/many/hard || die
	ln -s ../many/1 "${dir}"/empty/link || die
	ln -s "$(printf 'n%.0s' {1..200})" "${dir}"/long-target || die

	truncate -s 3M "${dir}"/hole || die
	printf 'end' >> "${dir}"/hole || die

	cp "${BROOT}"/bin/true "${dir}"/capable || die
	setcap cap_net_raw+ep "${dir}"/capable || die
	setfattr -n user.lab -v "of the package" "${dir}"/many/5 || die

	# Longer than a ustar header takes.
	deep="${dir}"/$(printf 'd%.0s/' {1..60})$(printf 'n%.0s' {1..251})
	mkdir -p "${deep}" || die
	echo deep > "${deep}"/file || die
	printf 'Latin-1' > "${dir}"/$'gr\xfc\xdfe' || die
}

# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

# What packages that read kernel sources need of the eclass of this name in ::gentoo.

case ${EAPI} in
	8) ;;
	*) die "${ECLASS}: EAPI ${EAPI:-0} is not supported" ;;
esac

# The kernel sources that a build is for.
KERNEL_DIR="${KERNEL_DIR:-${ROOT%/}/usr/src/linux}"

# linux-info_release prints the release of those sources.
linux-info_release() {
	awk '$2 == "=" && $1 ~ /^(VERSION|PATCHLEVEL|SUBLEVEL)$/ { r = r "." $3 } END { print substr(r, 2) }' "${KERNEL_DIR}"/Makefile ||
		die "no kernel sources in ${KERNEL_DIR}"
}

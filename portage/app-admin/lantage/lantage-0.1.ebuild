# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Have a weak machine's packages built by a strong one on the same LAN"
HOMEPAGE="https://wiki.gentoo.org/wiki/No_homepage"
# No release is published yet: "make dist" in Lantage's source writes this file.
SRC_URI="${P}.tar.xz"

# The second line is for the vendored Go modules, which are linked into the program.
LICENSE="AGPL-3"
LICENSE+=" BSD MIT"
SLOT="0"
# Stable keywords where it is tested, so that the steps in README.md need no
# package.accept_keywords entry.
KEYWORDS="amd64 arm64 ~arm ~loong ~ppc64 ~riscv ~x86"
# fetch: see SRC_URI. test: "make test" wants root, network namespaces and roots of its own.
RESTRICT="fetch test"

BDEPEND=">=dev-lang/go-1.26"

pkg_nofetch() {
	einfo "Please run \"make dist\" in Lantage's source directory, copy dist/${P}.tar.xz"
	einfo "into your DISTDIR directory and run"
	einfo "  ebuild ${CATEGORY}/${PN}/${PF}.ebuild manifest"
	einfo "in this overlay."
}

# Plain "go build" and no go-module.eclass: the tarball brings its modules in
# vendor/, so that the eclass would add little, and without it this overlay needs
# no other repository.
src_compile() {
	local -x CGO_ENABLED=0
	local -x GOCACHE="${T}"/go-build
	local -x GOENV=off
	local -x GOFLAGS="-mod=vendor -trimpath -buildvcs=false"
	local -x GOPATH="${T}"/go
	local -x GOPROXY=off
	local -x GOTOOLCHAIN=local

	go build -v -ldflags "-X main.version=${PV}" -o lantage . || die
}

# Not the default src_install, which would run "make install" and with it a second build.
src_install() {
	dobin lantage
	doman man/lantage.1 man/lantaged.8
	dodoc README.md ARCHITECTURE.md SECURITY.md
}

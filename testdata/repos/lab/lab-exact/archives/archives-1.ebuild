# Copyright 2026 The Lantage authors
# Distributed under the terms of the GNU Affero General Public License v3

EAPI=8

DESCRIPTION="Archives, objects and byte code that a build makes, in which times, owners and orders stand"
HOMEPAGE="https://example.org/lab"
S="${WORKDIR}"

LICENSE="AGPL-3"
SLOT="0"
KEYWORDS="amd64 arm64"

src_compile() {
	local i
	mkdir tree || die
	for i in {1..20}; do
		echo "int f${i}(void) { return ${i}; }" > "tree/${i}.c" || die
	done
	( cd tree && emake CC="${CHOST}-gcc" CFLAGS="${CFLAGS} -g" {1..20}.o )
	"${CHOST}-ar" rcs liblab.a tree/*.o || die
	"${CHOST}-gcc" ${CFLAGS} -g -shared -fPIC ${LDFLAGS} -Wl,-soname,liblab-archives.so -o liblab-archives.so tree/*.c || die
	# As packages do that want to be reproducible.
	touch -d @1000000000 tree/* || die
	tar -c --sort=name --mtime=@1000000000 -f tree.tar tree || die
	gzip -n9 < tree.tar > tree.tar.gz || die
	bzip2 -k tree.tar || die
	xz -k tree.tar || die
	zstd -q tree.tar || die
	echo 'print("lab")' > lab.py || die
	touch -d @1000000000 lab.py || die
	python3 -m py_compile lab.py || die
	find . ! -name list | sort > list || die
	echo "${SOURCE_DATE_EPOCH:-no SOURCE_DATE_EPOCH}" > epoch || die
	echo "/* ${PWD} ${D} ${T} */" > paths.h || die
}

src_install() {
	dolib.so liblab-archives.so
	dolib.a liblab.a
	insinto /usr/share/lab-archives
	doins -r tree.tar* lab.py __pycache__ list epoch paths.h
	doman "$(printf '.TH LAB 1\n' > lab.1 && echo lab.1)"
	dodoc paths.h
}

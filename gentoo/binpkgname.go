package gentoo

import (
	"fmt"
	"strconv"
	"strings"
)

// ValidBinpkgPath checks the path below PKGDIR that a peer names for a binpkg of cpv. Only these are valid,
// of that very package: cat/pn/pf-BUILDID.gpkg.tar and .xpak (binpkg-multi-instance), cat/pf.gpkg.tar and
// .tbz2.
func ValidBinpkgPath(rel string, cpv CPV) error {
	if _, err := ParseCPV(cpv.String()); err != nil {
		return fmt.Errorf("binpkg %q: %w", Printable(rel), err)
	}
	single := cpv.String()
	if rel == single+".gpkg.tar" || rel == single+".tbz2" {
		return nil
	}
	if rest, ok := strings.CutPrefix(rel, cpv.CP()+"/"+cpv.PF()+"-"); ok {
		id, ext, _ := strings.Cut(rest, ".")
		if _, ok := parseBuildID(id); ok && (ext == "gpkg.tar" || ext == "xpak") {
			return nil
		}
	}
	return fmt.Errorf("%q is not the name of a binpkg of %s", Printable(rel), cpv)
}

// binpkgPath returns the binpkg-multi-instance name for a BUILD_ID; ext with its dot.
func binpkgPath(cpv CPV, buildID int, ext string) string {
	return cpv.CP() + "/" + cpv.PF() + "-" + strconv.Itoa(buildID) + ext
}

// multiInstanceExt returns the extension that the format of rel has with binpkg-multi-instance: xpak
// changes its extension with the layout.
func multiInstanceExt(rel string) string {
	if strings.HasSuffix(rel, ".gpkg.tar") {
		return ".gpkg.tar"
	}
	return ".xpak"
}

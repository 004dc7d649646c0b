package client

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"lantage/gentoo"
)

// distfileQuery prints the distfiles of the packages in its arguments, each CATEGORY/PF::REPOSITORY, as their USE flags need
// them.
const distfileQuery = `
import json, sys
import portage
db = portage.portdb
settings = portage.config(clone=portage.settings)
out = {}
for arg in sys.argv[1:]:
    cpv, repo = arg.split("::")
    tree = db.treemap[repo]
    settings.setcpv(portage.versions._pkg_str(cpv, repo=repo), mydb=db)
    names = db.getFetchMap(cpv, useflags=settings["PORTAGE_USE"].split(), mytree=tree)
    if not names:
        continue
    cp = portage.versions.cpv_getkey(cpv)
    manifest = db.repositories.get_repo_for_location(tree).load_manifest(tree + "/" + cp, settings["DISTDIR"])
    digests = manifest.getTypeDigests("DIST")
    for name in names:
        d = digests.get(name)
        if d:
            out[name] = {"Name": name, "Size": d["size"], "SHA512": d.get("SHA512", ""), "BLAKE2B": d.get("BLAKE2B", "")}
print(json.dumps(list(out.values())))
`

// distfilesOf asks Portage which distfiles the packages need that a builder builds.
func distfilesOf(ctx context.Context, t *tools, p *plan) ([]gentoo.Distfile, error) {
	args := []string{"-c", distfileQuery}
	for _, pkg := range p.send {
		args = append(args, pkg.CPV.String()+"::"+pkg.Repo)
	}
	out, err := t.capture(ctx, "python3", args)
	if err == nil && out.status != 0 {
		err = fmt.Errorf("python3 ended with status %d: %s", out.status, oneLine(strings.TrimSpace(out.stderr), 500))
	}
	if err != nil {
		return nil, err
	}
	var list []gentoo.Distfile
	if err := json.Unmarshal([]byte(out.stdout), &list); err != nil {
		return nil, fmt.Errorf("the answer of Portage: %w", err)
	}
	return list, nil
}

# Tells what this machine's Portage knows, each answer a line of JSON: at first the values of the variables that are named in the
# first argument; then, when a line with packages has come as CPV::REPOSITORY, a line for each, as Portage itself would build it,
# with package.use, package.env and the environment. The second argument names the variables that are told of packages.
import sys

sys.path = [p for p in sys.path if p]  # nothing of the directory that the user happens to be in

import json
import os
import re

try:
    import portage
except ImportError:
    sys.exit(77)  # another Python of this machine has it

METADATA = (
    "BDEPEND DEFINED_PHASES DEPEND EAPI IDEPEND INHERITED IUSE KEYWORDS LICENSE PDEPEND PROPERTIES RDEPEND REQUIRED_USE"
    " RESTRICT SLOT SRC_URI"
).split()
# Where a live ebuild takes its sources from can also be said by the user.
LIVE = re.compile(r"E(GIT|HG|SVN|BZR|CVS|DARCS|FOSSIL)_(OVERRIDE_)?(REPO|SERVER).*")


def facts(db, settings, variables, cpv, repo):
    location = db.getRepositoryPath(repo)
    metadata = dict(zip(METADATA, db.aux_get(cpv, METADATA, myrepo=repo)))
    metadata["repository"] = repo
    settings.setcpv(cpv, mydb=metadata)
    use = settings["PORTAGE_USE"].split()
    fact = {
        "cpv": cpv,
        "portage": portage.VERSION,
        "repo": repo,
        "eapi": metadata["EAPI"],
        "slot": metadata["SLOT"],
        "use": use,
        "vars": {v: settings[v] for v in variables if settings.get(v)},
        "env": list(settings._penv) if hasattr(settings, "_penv") else None,
        "inherited": metadata["INHERITED"].split(),
        "phases": metadata["DEFINED_PHASES"].split(),
        "properties": settings.get("PORTAGE_PROPERTIES", metadata["PROPERTIES"]).split(),
        "restrict": settings.get("PORTAGE_RESTRICT", metadata["RESTRICT"]).split(),
        "depend": metadata["DEPEND"] + " " + metadata["BDEPEND"],
        "distfiles": distfiles(db, settings, cpv, repo, location, use),
    }
    if "live" in fact["properties"]:
        fact["live"] = [settings[v] for v in settings.keys() if LIVE.fullmatch(v)]
    return fact


def distfiles(db, settings, cpv, repo, location, use):
    names = db.getFetchMap(cpv, useflags=set(use), mytree=location)
    if not names:
        return []
    package = os.path.join(location, portage.versions.cpv_getkey(cpv))
    manifest = settings.repositories[repo].load_manifest(package, settings["DISTDIR"])
    known = manifest.getTypeDigests("DIST")
    files = []
    for name in names:
        sums = known.get(name, {})
        files.append(
            {
                "name": name,
                "size": int(sums.get("size", -1)),
                "sha512": sums.get("SHA512", ""),
                "blake2b": sums.get("BLAKE2B", ""),
            }
        )
    return files


def answer(what):
    print("\n" + json.dumps(what), flush=True)  # whatever Portage has printed before: it is a line of its own


def main(names, package_variables):
    try:
        settings = portage.settings
        answer({"variables": {name: settings[name] for name in names if settings.get(name)}})
    except Exception as e:
        sys.exit(f"{type(e).__name__}: {e}")
    packages = sys.stdin.readline().split()
    if not packages:
        return
    db = portage.db[settings["EROOT"]]["porttree"].dbapi
    settings = portage.config(clone=settings)
    for package in packages:
        cpv, repo = package.split("::")
        try:
            answer(facts(db, settings, package_variables, cpv, repo))
        except Exception as e:  # whatever is odd about one package concerns that one alone
            answer({"cpv": cpv, "error": f"{type(e).__name__}: {e}"})


main(sys.argv[1].split(), sys.argv[2].split())

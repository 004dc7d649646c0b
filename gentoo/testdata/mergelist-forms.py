"""Writes merge lists in forms that are rare on a real machine, printed by Portage's own resolver and display code.

Usage: PYTHONPATH=<Portage's source>/lib python3 mergelist-forms.py <directory for the lists>

It needs an unpacked source tree of Portage (its test suite makes small repositories and installed packages), with an
empty file .portage_not_installed in it, and gtar, zstd and gpg on PATH. PORTAGE_GNUPGHOME must name an empty directory.
"""

import contextlib
import io
import os
import sys

import portage
from portage.gpg import GPG
from portage.tests.resolver.ResolverPlayground import ResolverPlayground

from _emerge.create_depgraph_params import create_depgraph_params
from _emerge.depgraph import backtrack_depgraph
from _emerge.main import parse_opts
from _emerge.stdout_spinner import stdout_spinner

GPG.unlock = GPG.stop = lambda self: None  # nothing is signed here

FORMS = {
    "-pv": "verbose",
    "-p": "plain",
    "-pq": "quiet",
    "-p --columns": "columns",
    "-pv --columns": "verbose-columns",
    "-pq --columns": "quiet-columns",
    "-pv --quiet-repo-display": "repo-numbers",
    "-pvt --unordered-display": "tree",
    "-pv --alphabetical --color=y": "alphabetical-color",
}

USE = "lab_targets_one force"
EBUILDS = {
    "app/inter-1": {"PROPERTIES": "interactive", "SLOT": "0/5", "IUSE": "x +y"},
    "app/getit-1": {"RESTRICT": "fetch", "SRC_URI": "http://example.org/getit-1.tar.gz"},
    "app/flags-2": {"IUSE": "+on off +changed -gone2 force hidden lab_targets_one +lab_targets_two lab_targets_3-x"},
    "app/slots-3": {"SLOT": "3"},
    "app/down-1": {},
    "app/same-1.0_p20240101-r2": {"SLOT": "2/1.0"},
    "app/soft-1": {"RDEPEND": "!app/old"},
    "app/lib-2": {"SLOT": "0/2"},
    "app/user-1": {"DEPEND": "app/lib:=", "RDEPEND": "app/lib:="},
    "app/unstable-1": {"KEYWORDS": "~x86"},
    "app/nokey-1": {"KEYWORDS": ""},
    "app/hard-1": {},
    "app/c++-lib_x-1.2b_alpha3_p4": {"RDEPEND": "app/slots:3"},
    "app/fight-1": {"RDEPEND": "!!>=app/enemy-2:3 !!app/enemy2", "SLOT": "0"},
    "app/enemy-2": {"SLOT": "3"},
    "app/enemy2-1": {},
}
INSTALLED = {
    "app/inter-0.9": {"SLOT": "0/4"},
    "app/flags-1": {"IUSE": "on off changed gone gone2", "USE": "on gone2 gone"},
    "app/slots-1": {"SLOT": "1"},
    "app/slots-2": {"SLOT": "2/2.1"},
    "app/down-2": {},
    "app/same-1.0_p20240101-r2": {"SLOT": "2/1.0"},
    "app/old-1": {},
    "app/lib-1": {"SLOT": "0/1"},
    "app/user-1": {"RDEPEND": "app/lib:0/1=", "DEPEND": "app/lib:0/1="},
}
ALL = "app/inter app/getit app/flags app/slots:3 =app/down-1 app/same app/soft app/c++-lib_x --exclude app/user"
MORE = {
    "rebuild": ("-pvu", "app/lib", {}),
    "rebuild-quiet": ("-pqu", "app/lib", {}),
    "masked": (
        "-pv --autounmask=y --autounmask-keep-keywords=n --autounmask-keep-masks=n",
        "app/unstable app/nokey app/hard",
        {},
    ),
    "hard-block": ("-pv", "app/fight app/enemy app/enemy2", {}),
    "hard-block-quiet-columns": ("-pq --columns", "app/fight app/enemy app/enemy2", {}),
    "root": ("-pv", ALL, {"targetroot": True}),
    "root-plain": ("-p", ALL, {"targetroot": True}),
    "root-quiet": ("-pq", ALL, {"targetroot": True}),
    "root-columns": ("-pv --columns", ALL, {"targetroot": True}),
    "root-quiet-columns": ("-pq --columns", ALL, {"targetroot": True}),
}


def run(options, atoms, targetroot=False):
    playground = ResolverPlayground(
        ebuilds={k: {"EAPI": "8", **v} for k, v in EBUILDS.items()},
        installed={k: {"EAPI": "8", **v} for k, v in INSTALLED.items()},
        world=[],
        targetroot=targetroot,
        user_config={
            "make.conf": (f'USE="{USE}"', 'USE_EXPAND="LAB_TARGETS"', 'IUSE_IMPLICIT=""'),
            "package.mask": ("app/hard",),
        },
        profile={"use.force": ("force",), "use.mask": ("hidden",)},
    )
    out = io.StringIO()
    try:
        _, opts, words = parse_opts(f"{options} {atoms}".split())
        portage.output.havecolor = opts.get("--color") == "y"
        portage.util.noiselimit = -1 if "--quiet" in opts else 0
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(io.StringIO()):
            spinner = stdout_spinner()
            _, graph, favorites = backtrack_depgraph(
                playground.settings, playground.trees, opts, create_depgraph_params(opts, None), None, words, spinner
            )
            todo = graph.altlist()
            if "--tree" in opts:
                todo = list(reversed(todo))
            graph.display(todo, favorites=favorites)
            graph.display_problems()
        root = playground.settings["ROOT"]
        text = out.getvalue()
        text = text.replace(root, "/mnt/root/") if targetroot else text
        return text.replace(playground.eprefix, "")
    finally:
        portage.util.noiselimit = 0
        playground.debug = False
        playground.cleanup()


directory = sys.argv[1]
todo = {name: (options, ALL, {}) for options, name in FORMS.items()} | MORE
for name, (options, atoms, extra) in todo.items():
    with open(os.path.join(directory, f"p-{name}.txt"), "w") as file:
        file.write(run(options, atoms, **extra))

"""Writes how the real emerge parses the command lines of emerge-parse.txt, as JSON.

Usage: PYTHONPATH=<Portage's lib> python3 emerge-parse.py < emerge-parse.txt > emerge-parse-<version>.json

One command line a line, split as a shell does. For each: the arguments of all options that were given (a list for
options that add up), and the words that are no options; or null where emerge refuses the line.
"""

import argparse
import contextlib
import io
import json
import shlex
import sys

import _emerge.main as main

parsed = {}
real = argparse.ArgumentParser.parse_intermixed_args


def record(parser, *args, **kwargs):
    namespace = real(parser, *args, **kwargs)
    for name, value in vars(namespace).items():
        if value != parser.get_default(name):
            parsed[name.replace("_", "-")] = value
    return namespace


argparse.ArgumentParser.parse_intermixed_args = record
results = []
for line in sys.stdin:
    parsed = {}
    words = shlex.split(line)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            main.parse_opts(words)
    except SystemExit:
        if not parsed:
            parsed = None
    results.append({"line": line.rstrip("\n"), "words": words, "parsed": parsed})
json.dump(results, sys.stdout, indent=1)
print()

"""Writes emerge's option table as JSON, from the real _emerge.main.

Usage: PYTHONPATH=<Portage's lib> python3 emerge-options.py > emerge-options-<version>.json

For every option: what argparse was told (short form, action, choices, default), which words emerge takes as its
argument when they stand apart ("--jobs 4"), and whether the argument may be missing.
"""

import argparse
import json

import _emerge.main as main

options = {}
recorded = argparse.ArgumentParser.add_argument


def record(parser, *names, **kwargs):
    if names and names[0].startswith("-"):
        dest = "--" + kwargs["dest"].replace("_", "-")
        for name in names:
            entry = options.setdefault(name if name.startswith("--") else dest, {})
            if len(name) == 2:
                entry["short"] = name[1]
            elif name != dest:
                entry["alias"] = dest
            entry["action"] = kwargs.get("action", "store")
            if kwargs.get("choices"):
                entry["choices"] = sorted(kwargs["choices"])
            if kwargs.get("default"):
                entry["default"] = kwargs["default"]
    return recorded(parser, *names, **kwargs)


argparse.ArgumentParser.add_argument = record
main.parse_opts([])

for name, entry in options.items():
    if main.insert_optional_args([name]) == [name, "True"]:
        entry["optional"] = [
            word
            for word in ("y", "n", "4", "2.5", "rdeps", "text", "json")
            if main.insert_optional_args([name, word]) == [name, word]
        ]

print(json.dumps(options, indent=1, sort_keys=True))

"""Lets through the manifests of a stream whose kind is named: `… | python pick.py --only Job,ConfigMap`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Iterator

_SEPARATOR = re.compile(r"^---\s*$", re.MULTILINE)
_KIND = re.compile(r"^kind: *([A-Za-z]+) *$", re.MULTILINE)


def pick(text: str, kinds: Iterable[str]) -> Iterator[str]:
    """The documents of these kinds; one without a kind is none."""
    wanted = set(kinds)
    for document in _SEPARATOR.split(text):
        found = _KIND.search(document)
        if found and found[1] in wanted:
            yield document.strip("\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", required=True)
    print("\n---\n".join(pick(sys.stdin.read(), parser.parse_args().only.split(","))))

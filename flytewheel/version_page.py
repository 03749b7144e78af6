"""A registered version on one page of text: what it is made of, how it was judged, and what it weighs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

_SAID = ("kind", "run_id", "mode", "started_from", "base_model", "base_digest", "dataset_digest", "recipe_digest")
_JUDGED = ("judged_against", "verdict", "gate_verdict")
_WIDTH = 60


def write_page(found: Mapping[str, Any]) -> str:
    """The page of a version.

    Args:
        found: Its manifest as JSON, with `digest`, `size` and `aliases`.
    """
    facts = found["facts"]
    aliases = f" ({', '.join(found['aliases'])})" if found["aliases"] else ""
    rows = [
        ("registered", f"{found['created_at'][:16].replace('T', ' ')} UTC, under key {found['key']}"),
        ("manifest", found["digest"]),
        *((name.replace("_", " "), shorten(facts[name])) for name in _SAID if facts.get(name)),
        *([("code", facts["git_commit"])] if facts.get("git_commit") else []),
        *((name.replace("_", " "), shorten(facts[name])) for name in _JUDGED if facts.get(name)),
        *(("because", reason) for reason in facts.get("reasons") or ()),
    ]
    known = {*_SAID, *_JUDGED, "git_commit", "reasons", "recipe", "metrics", "parity"}
    rows += [(name.replace("_", " "), shorten(value)) for name, value in sorted(facts.items()) if name not in known]
    parts = [
        f"{found['name']} {found['version']}{aliases}",
        _align(rows),
        *(part for title in ("metrics", "parity") if (part := _section(title, facts.get(title)))),
        f"files, {found['size']:,} bytes\n"
        + _align([(f"  {path}", f"{file['size']:,}  {file['sha256']}") for path, file in found["files"].items()]),
    ]
    return "\n\n".join(parts)


def shorten(value: Any) -> str:
    """A fact in a cell: JSON for what is not text, cut where it gets long."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    text = " ".join(text.split())
    return text if len(text) <= _WIDTH + 4 else f"{text[:_WIDTH]} …"


def _section(title: str, value: Any) -> str:
    rows = [(f"  {path}", shorten(leaf)) for path, leaf in _leaves("", value)]
    return f"{title}\n{_align(rows)}" if rows else ""


def _leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _leaves(f"{path}.{key}" if path else str(key), item)
    elif value is not None:
        yield path, value


def _align(rows: list[tuple[str, str]]) -> str:
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name.ljust(width)}  {value}" for name, value in rows)

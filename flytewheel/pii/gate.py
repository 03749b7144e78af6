"""Which finders could find something in which text: Rust's regular expressions over the whole batch.

Decides only what need not be looked at. A finder's gates are the cores of its own rules without the guards around
them, so that they match wherever it finds something; the tests hold gate and finders against the finders alone. Each
expression costs a pass over the texts it is asked about, so it is asked only where those before it matched: a digit,
six digits near each other, all gates of a screen in one; what begins alike is asked once for all finders.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache

import polars as pl

from flytewheel.pii.rules import DIGIT, NEAR, Finder, Gate, unite
from flytewheel.pii.view import NEEDS_VIEW, view_text

BATCH = 1 << 15
FEW = 64  # compiling the expressions takes as long as the finders take for so many texts
FEWER = 16  # compiling one of them takes as long as one finder takes for so many

_Path = tuple[str, ...]


def choose_finders(texts: Sequence[str], finders: Sequence[Finder]) -> Iterator[tuple[int, str, tuple[Finder, ...]]]:
    """The texts in which something may be found: each one's place, its view, and the finders that may find it."""
    for start in range(0, len(texts), BATCH):
        for row, view, chosen in _choose(texts[start : start + BATCH], finders):
            yield start + row, view, chosen


def _choose(texts: Sequence[str], finders: Sequence[Finder]) -> Iterator[tuple[int, str, tuple[Finder, ...]]]:
    if len(texts) < FEW:
        for row, text in enumerate(texts):
            yield row, view_text(text), tuple(finders)
        return
    raw = pl.Series("view", texts, dtype=pl.String)
    views: Sequence[str] = texts
    foreign = ((raw.str.len_bytes() != raw.str.len_chars()) | raw.str.contains("\\", literal=True)).arg_true()
    foreign = foreign.gather(raw.gather(foreign).str.contains(NEEDS_VIEW).arg_true())
    if len(foreign):
        views = list(texts)
        for row in foreign.to_list():
            views[row] = view_text(texts[row])
        raw = pl.Series("view", views, dtype=pl.String)
    passed: dict[_Path, tuple[pl.Series, pl.Series]] = {(): (pl.int_range(len(raw), eager=True), raw)}
    chosen: dict[int, list[int]] = defaultdict(list)
    for rank, paths in enumerate(_plan_paths(tuple(finders))):
        for row in {row for path in paths for row in _follow(path, passed).to_list()}:
            chosen[row].append(rank)
    for row, ranks in sorted(chosen.items()):
        yield row, views[row], tuple(finders[rank] for rank in ranks)


@lru_cache(maxsize=4)
def _plan_paths(finders: tuple[Finder, ...]) -> list[list[_Path]]:
    """For each finder the expressions that lead to each of its gates, and the gate's own."""
    screens: dict[tuple[_Path, str], list[str]] = defaultdict(list)
    for finder in finders:
        for gate in finder.gates:
            screens[_root(finder, gate), gate.screen].append(gate.parts[0])
    plan: list[list[_Path]] = []
    for finder in finders:
        behind: dict[_Path, list[str]] = defaultdict(list)
        for gate in finder.gates:
            root = _root(finder, gate)
            *begun, last = gate.parts
            behind[(*root, unite(screens[root, gate.screen]), *begun) if gate.screen else (*root, *begun)].append(last)
        # What a finder asks behind the same expressions it asks at once: Polars keeps 32 compiled expressions.
        united = [(path, unite(cores) if len(cores) > 1 else cores[0]) for path, cores in behind.items()]
        plan.append([path if path[-1:] == (last,) else (*path, last) for path, last in united])
    return plan


def _root(finder: Finder, gate: Gate) -> _Path:
    return (DIGIT, NEAR) if gate.near else (DIGIT,) if finder.digits else ()


def _follow(path: _Path, passed: dict[_Path, tuple[pl.Series, pl.Series]]) -> pl.Series:
    """The rows where all expressions of a path match; `passed` keeps the rows and texts of every path's beginning."""
    for depth in range(1, len(path) + 1):
        if path[:depth] not in passed:
            rows, views = passed[path[: depth - 1]]
            if len(rows) > FEWER:
                hits = views.str.contains(path[depth - 1])
                rows, views = rows.filter(hits), views.filter(hits)
            passed[path[:depth]] = rows, views
    return passed[path][0]

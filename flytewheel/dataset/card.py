"""What a data set says of itself: the card, and the fixed bins that its distributions are counted in.

The card holds no clock and no path: the same rows, recipe and code give the same bytes. `card.json` is written last
and is the commit point; a folder without it is no data set.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from pydantic import TypeAdapter, ValidationError

from flytewheel.dataset.layout import CARD
from flytewheel.errors import DatasetError
from flytewheel.records import Preference, to_jsonable
from flytewheel.strict import list_faults

FORMAT = 2  # of the folder: 1 was JSON lines
SCORE_BINS = 20  # of [0, 1]: [0, 0.05), [0.05, 0.1) … [0.95, 1]
LENGTH_BINS = 14  # in words: 0, 1, 2–3, 4–7 … 2,048–4,095, 4,096 and more
MARGIN_BINS = 20  # of [0, 2], each 0.1 wide

_Value = TypeVar("_Value", int, float)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of curation: how many rows came and went. `dropped` counts by reason; `examples` are redacted texts.

    `changed` counts what was altered in the rows that stayed, by kind (personal data replaced). `ranks` order the
    examples of steps that are still to be merged over partitions; a card holds none, since they are made of texts that
    nobody has redacted.
    """

    name: str
    rows_in: int
    rows_out: int
    dropped: dict[str, int] = field(default_factory=dict)
    examples: dict[str, list[str]] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    ranks: dict[str, list[str]] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class DatasetCard:
    """What a data set holds and how it came about.

    Attributes:
        digest: the data set's name: of window, recipe slice and code version.
        content_digest: `digest_content` of its folder.
        sources: streams that the window drew from.
        interactions: those that the window held.
        events: feedback events that the window held.
        steps: each step's account, in their order.
        counts: rows by kind and part.
        users: users by part.
        topics: SFT rows by topic.
        rewards: scored interactions by sign (`positive`, `zero`, `negative`).
        funnel: (stage, rows left) from what came in to what is trained on.
        license: of the data, as the recipe says; `None`: it does not.
        time_range: first and last time of the window's interactions, ISO 8601.
        recipe: the sections that the rows depend on, as JSON.
        code_version: of curation.
        git_commit: of the code, where known.
        window: `series`, `number` and `marks` of the window, as far as they are known.
        scores: quality in `SCORE_BINS` bins: `before` screens and choice, and `after`, in the SFT rows.
        lengths: answers' words in `LENGTH_BINS` bins, `before` and `after` alike.
        topics_before: interactions by topic.
        topics_after: SFT training rows by topic.
        pairs: `describe_pairs` of the preference rows.
        comments: `count`, `sentiment` (label to count) and `themes` (objects of `theme`, `count`, `example`, redacted).
        redacted: personal data replaced, by kind.
    """

    digest: str
    content_digest: str
    sources: tuple[str, ...]
    interactions: int
    events: int
    steps: tuple[Step, ...]
    counts: dict[str, dict[str, int]]
    users: dict[str, int]
    topics: dict[str, int]
    rewards: dict[str, int] = field(default_factory=dict)
    funnel: tuple[tuple[str, int], ...] = ()
    license: str | None = None
    time_range: tuple[str, str] | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    code_version: str = ""
    git_commit: str | None = None
    window: dict[str, Any] = field(default_factory=dict)
    scores: dict[str, list[int]] = field(default_factory=dict)
    lengths: dict[str, list[int]] = field(default_factory=dict)
    topics_before: dict[str, int] = field(default_factory=dict)
    topics_after: dict[str, int] = field(default_factory=dict)
    pairs: dict[str, Any] = field(default_factory=dict)
    comments: dict[str, Any] = field(default_factory=dict)
    redacted: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "steps", tuple(replace(step, ranks={}) for step in self.steps))

    @property
    def dropped(self) -> dict[str, int]:
        """Rows taken away, by reason, over all steps."""
        totals: Counter[str] = Counter()
        for step in self.steps:
            totals.update(step.dropped)
        return dict(totals)

    def to_json(self) -> dict[str, Any]:
        """The card as `card.json` holds it."""
        raw = asdict(self)
        for step in raw["steps"]:
            del step["ranks"]
        return {**to_jsonable(raw), "format": FORMAT}


def read_card(path: Path) -> DatasetCard:
    """Reads the card of the data set in folder `path`.

    Raises:
        DatasetError: there is none, it cannot be read, or another version of flytewheel wrote it.
    """
    try:
        data = (path / CARD).read_bytes()
    except OSError as error:
        raise DatasetError(f"{path}: no readable data set card ({error.strerror}); curate again") from None
    return parse_card(data, str(path))


def parse_card(data: bytes, place: str) -> DatasetCard:
    """The card in the bytes of a `card.json`; `place` is what errors call it.

    Raises:
        DatasetError: it is not one, or another version of flytewheel wrote it.
    """
    try:
        raw = json.loads(data)
    except ValueError as error:
        raise DatasetError(f"{place}: no readable data set card ({error}); curate again") from None
    if not isinstance(raw, dict):
        raise DatasetError(f"{place}: no readable data set card (not an object); curate again")
    if (found := raw.pop("format", 1)) != FORMAT:
        raise DatasetError(f"{place}: a data set of format {found!r}, this flytewheel reads {FORMAT}; curate again")
    unknown = sorted(raw.keys() - {each.name for each in fields(DatasetCard)})
    if unknown:
        raise DatasetError(f"{place}: the card has unknown fields {', '.join(unknown)}; curate again")
    try:
        return _CARDS.validate_python(raw)
    except ValidationError as error:
        faults = "; ".join(" ".join(fault.split())[:100] for fault in list_faults(error)[:3])
        raise DatasetError(f"{place}: no readable data set card ({faults}); curate again") from None


def commit_card(folder: Path, card: DatasetCard) -> None:
    """Writes `card.json`, whole or not at all."""
    draft = folder / f".{CARD}.part"
    text = json.dumps(card.to_json(), indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    draft.write_text(f"{text}\n", encoding="utf-8")
    os.replace(draft, folder / CARD)


def count_scores(qualities: Iterable[float]) -> list[int]:
    """Qualities in [0, 1] counted in `SCORE_BINS` bins of equal width; one at an edge belongs to the upper bin."""
    return _count(qualities, lambda quality: _bin(quality * SCORE_BINS), SCORE_BINS)


def count_lengths(words: Iterable[int]) -> list[int]:
    """Numbers of words counted in `LENGTH_BINS` bins by powers of two: 0, 1, 2–3, 4–7 …"""
    return _count(words, lambda number: int(number).bit_length(), LENGTH_BINS)


def describe_pairs(pairs: Iterable[Preference]) -> dict[str, Any]:
    """The report on preference pairs: where they come from, how clear they are, and whether length gives them away.

    Returns:
        `count`; `sources` (source to count); `margins` (`MARGIN_BINS` counts); `length_bias` with `mean_words` (chosen
        minus rejected), `share_longer` and `share_shorter` (of pairs whose chosen answer has more, fewer words), all
        `None` where there is no pair. A policy learns to write long where `share_longer` is far above one half
        (Singhal et al. 2023, "A long way to go").
    """
    sources: Counter[str] = Counter()
    margins = [0] * MARGIN_BINS
    count = longer = shorter = words = 0
    for pair in pairs:
        count += 1
        sources[pair.source] += 1
        margins[min(_bin(pair.margin * MARGIN_BINS / 2), MARGIN_BINS - 1)] += 1
        more = len(pair.chosen.split()) - len(pair.rejected.split())
        words += more
        longer += more > 0
        shorter += more < 0
    bias = {"mean_words": words, "share_longer": longer, "share_shorter": shorter}
    return {
        "count": count,
        "sources": dict(sorted(sources.items())),
        "margins": margins,
        "length_bias": {name: round(total / count, 6) if count else None for name, total in bias.items()},
    }


def length_labels() -> list[str]:
    """What the bins of `count_lengths` are called."""
    spans = [f"{1 << (power - 1):,}–{(1 << power) - 1:,}" for power in range(2, LENGTH_BINS - 1)]
    return ["0", "1", *spans, f"≥ {1 << (LENGTH_BINS - 2):,}"]


def _bin(scaled: float) -> int:
    return int(scaled + 1e-9)  # a sum of weights: 0.7 + 0.1 is 0.7999999999999999


def _count(values: Iterable[_Value], choose_bin: Callable[[_Value], int], size: int) -> list[int]:
    counts = [0] * size
    for value, count in Counter(values).items():  # a few different ones, over and over
        counts[min(choose_bin(value), size - 1)] += count
    return counts


_CARDS = TypeAdapter(DatasetCard)

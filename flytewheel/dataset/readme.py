"""The data set for a person: `README.md` with the YAML front matter of a hub's data set card, and its figures.

The front matter names every part that has rows, so that `datasets.load_dataset(folder, "sft")` reads them; `datasets`
refuses a split without rows, so empty parts are left out there (they are files all the same). Topics and examples
come from people: they are escaped, so that none can write markup or fetch a picture.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from flytewheel import figures
from flytewheel.dataset.card import SCORE_BINS, DatasetCard, length_labels
from flytewheel.dataset.layout import FIGURES, KINDS, LAYOUT, PICTURES, QUARANTINED, README
from flytewheel.records import HOLDOUT, PARTS

MOST_BARS = 15
_MARKUP = re.compile(r"([\\`*_{}\[\]()#!|<>&~$])")
_HUB_LICENSE = re.compile(r"[a-z0-9][a-z0-9.+-]*")
_SIZES = ((10**3, "n<1K"), (10**4, "1K<n<10K"), (10**5, "10K<n<100K"), (10**6, "100K<n<1M"), (10**7, "1M<n<10M"))
_MEANING = {
    "funnel": "Rows left after each stage",
    "scores": "Quality of the answers, before and after",
    "lengths": "Words of the answers, before and after",
    "topics": "Topics, before and after",
    "reasons": "Rows taken away, by reason",
}


def draw_figures(report: Mapping[str, Any]) -> dict[str, str]:
    """The pictures of a data set by name (`funnel`, `scores`, `lengths`, `topics`, `reasons`), those with something in
    them.

    Args:
        report: the card as JSON (`DatasetCard.to_json`); what it lacks is not drawn.
    """
    funnel = [(str(stage), int(rows)) for stage, rows in report.get("funnel") or stages_of(report)]
    drawn = {
        "funnel": figures.bar_chart(_MEANING["funnel"], funnel),
        "scores": _distribution("scores", report, [f"{n / SCORE_BINS:.2f}" for n in range(SCORE_BINS)]),
        "lengths": _distribution("lengths", report, length_labels()),
        "topics": figures.paired_bar_chart(_MEANING["topics"], compare_topics(report)[:MOST_BARS]),
        "reasons": figures.bar_chart(_MEANING["reasons"], list_reasons(report)[:MOST_BARS]),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def order_counts(report: Mapping[str, Any]) -> list[tuple[str, dict[str, int]]]:
    """(kind, rows by part) in the order of `KINDS`; the JSON of a card is sorted by name."""
    return [(kind, report["counts"][kind]) for kind in KINDS if kind in report["counts"]]


def stages_of(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    """The steps' rows, where a card brings no funnel of its own."""
    return [(step["name"], step["rows_out"]) for step in report.get("steps", ())]


def list_reasons(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Rows taken away by reason, most first."""
    totals: dict[str, int] = {}
    for step in report.get("steps", ()):
        for reason, count in step["dropped"].items():
            totals[reason] = totals.get(reason, 0) + count
    return sorted(totals.items(), key=lambda item: (-item[1], item[0]))


def list_examples(report: Mapping[str, Any]) -> list[tuple[str, str]]:
    """(reason, redacted text), in the order of the steps."""
    return [
        (reason, text)
        for step in report.get("steps", ())
        for reason, texts in step["examples"].items()
        for text in texts
    ]


def compare_topics(report: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    """(topic, before, after), the largest before first."""
    before, after = report.get("topics_before") or {}, report.get("topics_after") or {}
    names = sorted(before.keys() | after.keys(), key=lambda name: (-before.get(name, 0), -after.get(name, 0), name))
    return [(name, before.get(name, 0), after.get(name, 0)) for name in names]


def describe_length_bias(pairs: Mapping[str, Any]) -> str:
    """One sentence on whether chosen answers are simply the longer ones."""
    bias = pairs.get("length_bias") or {}
    if bias.get("mean_words") is None:
        return "no pair to tell a length bias from"
    return (
        f"chosen answers are {bias['mean_words']:+,.1f} words longer than rejected ones on average; "
        f"longer in {bias['share_longer']:.0%} of {pairs['count']:,} pairs, shorter in {bias['share_shorter']:.0%}"
    )


def write_figures(folder: Path, card: DatasetCard) -> None:
    """Writes `figures/*.svg`; a picture with nothing in it is no file."""
    place = folder / FIGURES
    place.mkdir(exist_ok=True)
    drawn = draw_figures(card.to_json())
    for name in PICTURES:
        if name in drawn:
            (place / f"{name}.svg").write_text(drawn[name], encoding="utf-8")
        else:
            (place / f"{name}.svg").unlink(missing_ok=True)


def write_readme(folder: Path, card: DatasetCard, sizes: Mapping[tuple[str, str], int]) -> None:
    """Writes `README.md`; `sizes` are the rows of each (kind, part) on disk."""
    front = yaml.safe_dump(_front_matter(card, sizes), sort_keys=False, allow_unicode=True, width=120)
    body = "\n\n".join(part for part in _body(card, sizes) if part)
    (folder / README).write_text(f"---\n{front}---\n\n{body}\n", encoding="utf-8")


def _front_matter(card: DatasetCard, sizes: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    configs: list[dict[str, Any]] = []
    for kind, parts in LAYOUT.items():
        files = [{"split": part, "path": f"{kind}/{part}.parquet"} for part in parts if sizes.get((kind, part))]
        if files:
            configs.append({"config_name": kind, "data_files": files, **({} if configs else {"default": True})})
    if sizes.get((QUARANTINED, "")):
        files = [{"split": "train", "path": f"{QUARANTINED}.parquet"}]  # `datasets` wants a split
        configs.append({"config_name": QUARANTINED, "data_files": files})
    total = sum(rows for (kind, _), rows in sizes.items() if kind != QUARANTINED)
    return {
        "pretty_name": f"flytewheel {card.digest[:12]}",
        **_license(card.license),
        "size_categories": [next((name for most, name in _SIZES if total < most), "n>10M")],
        "task_categories": ["text-generation"],
        "tags": ["flytewheel", "human-feedback", "preference", "trl"],
        **({"configs": configs} if configs else {}),
    }


def _license(said: str | None) -> dict[str, str]:
    if not said:
        return {"license": "unknown"}
    if _HUB_LICENSE.fullmatch(said.lower()):  # the hub's own identifiers, such as apache-2.0 and cc-by-4.0
        return {"license": said.lower()}
    return {"license": "other", "license_name": " ".join(said.split())}  # a line `---` would end the front matter


def _body(card: DatasetCard, sizes: Mapping[tuple[str, str], int]) -> list[str]:
    report = card.to_json()
    drawn = draw_figures(report)
    span = f", {card.time_range[0]} to {card.time_range[1]}" if card.time_range else ""
    window = ", ".join(f"{key} {value}" for key, value in card.window.items() if isinstance(value, str | int))
    made = ", ".join(filter(None, (card.code_version, card.git_commit)))
    parts = (*PARTS, HOLDOUT)
    rows = [(kind, *(sizes.get((kind, part), "") for part in parts)) for kind in KINDS]
    examples: dict[str, list[str]] = {}
    for reason, text in list_examples(report):
        examples.setdefault(reason, []).append(text)
    reasons = [
        (reason, count, "<br>".join(map(_plain, examples.get(reason, ())))) for reason, count in list_reasons(report)
    ]
    sentiment = card.comments.get("sentiment") or {}
    themes = [(each["theme"], each["count"], each.get("example", "")) for each in card.comments.get("themes") or ()]
    return [
        f"# Data set {_plain(card.digest)}",
        f"{card.interactions:,} interactions and {card.events:,} feedback events "
        f"from {', '.join(map(_plain, card.sources)) or 'no source'}{span}.",
        f"Window: {_plain(window)}." if window else "",
        f"Made by {_plain(made)}." if made else "",
        _table(("kind", *parts), rows),
        f"`{HOLDOUT}` holds users who are never trained or tuned on. Every row of the first four kinds names its\n"
        "interactions and feedback events.",
        '```python\nfrom datasets import load_dataset\n\nload_dataset("path/to/folder", "sft", split="train")\n```',
        "## Funnel",
        _picture("funnel", drawn),
        _table(("stage", "rows"), report["funnel"] or stages_of(report)),
        "## What was taken away, and why",
        _picture("reasons", drawn),
        _table(("reason", "rows", "examples, redacted"), reasons, raw=2),
        _section("Personal data replaced", _table(("kind", "replaced"), sorted(card.redacted.items()))),
        _section("Distributions", _picture("scores", drawn), _picture("lengths", drawn)),
        _section("Topics", _picture("topics", drawn), _table(("topic", "before", "after"), compare_topics(report))),
        _section(
            "Preference pairs",
            f"{describe_length_bias(card.pairs)}." if card.pairs else "",
            _table(("source", "pairs"), sorted((card.pairs.get("sources") or {}).items())),
        ),
        _section(
            "Comments",
            _table(("sentiment", "comments"), sorted(sentiment.items())),
            _table(("theme", "comments", "example, redacted"), themes),
        ),
        _section("Recipe", f"```json\n{json.dumps(card.recipe, indent=1, sort_keys=True)}\n```" if card.recipe else ""),
    ]


def _distribution(name: str, report: Mapping[str, Any], labels: Sequence[str]) -> str:
    counts = report.get(name) or {}
    empty = [0] * len(labels)
    return figures.column_chart(_MEANING[name], labels, counts.get("before") or empty, counts.get("after") or empty)


def _section(title: str, *parts: str) -> str:
    told = [part for part in parts if part]
    return "\n\n".join([f"## {title}", *told]) if told else ""


def _picture(name: str, drawn: Mapping[str, str]) -> str:
    return f"![{_MEANING[name]}]({FIGURES}/{name}.svg)" if name in drawn else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], *, raw: int | None = None) -> str:
    """A table in Markdown; the column `raw` is escaped already."""
    if not rows:
        return ""

    def cell(number: int, value: Any) -> str:
        if isinstance(value, int):
            return f"{value:,}"
        return str(value) if number == raw else _plain(str(value))

    lines = [tuple(head), ("---",) * len(head), *(tuple(cell(n, value) for n, value in enumerate(row)) for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _plain(text: str) -> str:
    """Text on one line that Markdown shows as it stands."""
    return _MARKUP.sub(r"\\\1", " ".join(text.split()))

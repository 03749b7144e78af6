"""What a run's stations did, in the form that a version keeps for ever: figures and digests, no word of any user.

A version cannot be changed when a person is erased later, so nothing that a person wrote may get into it. Reports do
hold such words: examples of dropped rows, themes of comments, and topics, which are named by their heaviest words
(`curation.topics`) or by whoever sent them. Taken over is only what is listed here; the lines of a verdict that name
topics are counted instead.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Report = Mapping[str, Any]

_TRAININGS = ("train_sft", "train_reward", "align")
_OF_TRAINING = (
    "method", "reason", "rows", "steps", "first_loss", "last_loss", "eval_loss", "device", "total_seconds", "tokens",
    "redacted_rows", "truncated_rows", "taken_back", "adapter_digest",
)  # fmt: skip
_OF_DATASET = (
    "digest", "content_digest", "sources", "interactions", "events", "counts", "users", "redacted", "license",
    "time_range", "code_version", "git_commit", "replay",
)  # fmt: skip
_SIDES = ("candidate", "champion", "difference")
_OF_FILE = ("kind", "tensor_types", "fallbacks")
# How the gate begins a line that names topics (`evaluation.gate`), and what is said in its place.
_OF_TOPICS = (
    ("against: worse on ", "against: worse on {} (the run's report names them)"),
    ("for: better on ", "for: better on {} (the run's report names them)"),
    ("cannot tell by topic: ", "cannot tell by topic: some have too few held-out users (the run's report names them)"),
)


def describe_work(reports: Mapping[str, Report]) -> dict[str, Any]:
    """The facts that come from the reports of a run's stations; what a station did not say is left out.

    Returns:
        `dataset`, `training` by station, `evaluation` (figures with intervals), `export` by file, `packages` by name,
        and `device`.
    """
    evaluated, exported = reports.get("evaluate", {}), reports.get("export_gguf", {})
    trained = {name: reports[name] for name in _TRAININGS if reports.get(name, {}).get("method")}
    training = {name: _take(report, _OF_TRAINING) for name, report in trained.items()}
    devices = [report["device"] for report in training.values() if report.get("device")]
    facts = {
        "dataset": _take(reports.get("curate", {}), _OF_DATASET),
        "training": training,
        "evaluation": describe_figures(evaluated.get("metrics", {})),
        "export": {name: _take(file, _OF_FILE) for name, file in exported.get("files", {}).items()},
        "packages": _join_packages([*trained.values(), exported]),
        "device": devices[-1] if devices else evaluated.get("device"),
    }
    return {name: value for name, value in facts.items() if value}


def describe_figures(metrics: Mapping[str, Report]) -> dict[str, Any]:
    """Figures of an evaluation: estimate, low and high of candidate, champion and difference, rows and users."""
    return {
        name: {
            **{side: _take(found[side], ("estimate", "low", "high", "level")) for side in _SIDES if side in found},
            **_take(found, ("rows", "users", "lower_is_better")),
        }
        for name, found in metrics.items()
    }


def plain_reasons(reasons: Iterable[str]) -> list[str]:
    """The reasons of a verdict without the names of topics: one line for all of a kind."""
    kept: list[str] = []
    counts: dict[str, int] = {}
    for reason in reasons:
        line = next((line for opening, line in _OF_TOPICS if _is_about_topics(reason, opening)), None)
        if line is None:
            kept.append(reason)
            continue
        if line not in counts:
            kept.append(line)
        counts[line] = counts.get(line, 0) + _count(reason)
    return [line.format(_figures(counts[line])) if line in counts else line for line in kept]


def _figures(count: int) -> str:
    return f"{count} figure{'s' if count > 1 else ''} of topics"


def _is_about_topics(reason: str, opening: str) -> bool:
    rest = reason.removeprefix(opening)
    named = opening.startswith("cannot") or rest.startswith("topic ") or rest.endswith(" more figures of topics")
    return reason.startswith(opening) and named


def _count(reason: str) -> int:
    """How many figures a line stands for: one, or `worse on 7 more figures of topics`."""
    number = reason.split(" on ", 1)[-1].partition(" ")[0]
    return int(number) if number.isdecimal() and reason.endswith(" more figures of topics") else 1


def _join_packages(reports: Sequence[Report]) -> dict[str, str]:
    """The packages of the stations that trained and exported; where they differ, those that trained count."""
    found: dict[str, str] = {}
    for report in reversed(reports):
        found |= report.get("packages", {})
    return dict(sorted(found.items()))


def _take(report: Report, names: Iterable[str]) -> dict[str, Any]:
    return {name: report[name] for name in names if report.get(name) is not None}

"""The control of a turn of the loop: the same log with its reactions dealt out anew.

Decides what "no signal" looks like: who asked, what was asked, every answer and every reaction stay as often as they
were; only which answer a reaction belongs to is drawn by a seed (a permutation test's null). A correction cannot move
to another question; with probability one half it changes places with the answer that it corrects. What a turn gains
on this log was not learnt from people.
"""

from __future__ import annotations

import gzip
import json
import random
import zlib
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from flytewheel.errors import FeedbackError
from flytewheel.feedback.logs import check_log

Line = dict[str, Any]


def permute_labels(
    interactions: Path, feedback: Path, out_dir: Path, *, seed: int, prefix: str = "permuted-"
) -> tuple[int, int]:
    """Writes both logs anew to `out_dir`, reactions permuted among the interactions.

    Ids get `prefix`, so that both logs can lie in one database. Malformed lines are copied as they are.

    Args:
        interactions: a log of interactions, `.jsonl` or `.jsonl.gz`.
        feedback: the log of events about them.
        out_dir: where `interactions.jsonl.gz` and `feedback.jsonl.gz` are written.
        seed: decides the permutation and the swaps.
        prefix: put before every interaction and event id.

    Returns:
        How many events changed their interaction, and how many corrections changed places with their answer.

    Raises:
        FeedbackError: a log is missing or not readable.
    """
    check_log(interactions)
    check_log(feedback)
    chance = random.Random(seed)
    answers = [(text, _parse(text, "response")) for text in read_lines(interactions)]
    events = [(text, _parse(text, "event_id")) for text in read_lines(feedback)]
    first: dict[str, Line] = {}
    for _, line in answers:
        if line is not None:
            first.setdefault(line["interaction_id"], line)
    dealt = list(first)
    chance.shuffle(dealt)
    target = dict(zip(first, dealt, strict=True))
    swaps: dict[str, str] = {}
    moved = 0
    texts: list[tuple[str, str]] = []
    for text, event in events:
        if event is None:
            texts.append((texts[-1][0] if texts else "", text))
            continue
        if event["interaction_id"] in first:
            source = first[event["interaction_id"]]
            if event.get("feedback_type") == "correction":
                event = _swap(event, source, swaps, chance)
            else:
                moved += target[source["interaction_id"]] != source["interaction_id"]
                event = _move(event, source, first[target[source["interaction_id"]]])
        event = _rename(event, prefix)
        texts.append((str(event.get("timestamp")), json.dumps(event, ensure_ascii=False)))
    write_lines(
        out_dir / "interactions.jsonl.gz",
        (text if line is None else _write_answer(line, swaps, prefix) for text, line in answers),
    )
    write_lines(out_dir / "feedback.jsonl.gz", (text for _, text in sorted(texts, key=lambda item: item[0])))
    return moved, len(swaps)


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a log, packed or not, without their ends.

    Raises:
        FeedbackError: the file is damaged or cut off. An import takes what came through; half a log dealt out
            anew would be another experiment.
    """
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as stream:
            for line in stream:
                yield line.decode("utf-8", "replace").rstrip("\n")
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise FeedbackError(f"{path}: expected a whole gzip file, but {error}; pack it again") from None


def write_lines(path: Path, texts: Iterable[str]) -> int:
    """Writes lines to a gzip file whose bytes depend on them only (no name, no time); returns how many."""
    path.parent.mkdir(parents=True, exist_ok=True)
    count = 0
    with path.open("wb") as stream, gzip.GzipFile("", "wb", 9, stream, mtime=0) as packed:
        for text in texts:
            packed.write(text.encode() + b"\n")
            count += 1
    return count


def _parse(text: str, needed: str) -> Line | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    keys = ("interaction_id", "user_id", "timestamp", needed)
    if not isinstance(line, dict) or not all(isinstance(line.get(key), str) for key in keys):
        return None
    try:
        aware = datetime.fromisoformat(line["timestamp"]).tzinfo is not None
    except ValueError:
        return None
    return line if aware else None


def _move(event: Line, source: Line, target: Line) -> Line:
    """The event as a reaction to `target`, by the one who asked there, after the same delay."""
    delay = datetime.fromisoformat(event["timestamp"]) - datetime.fromisoformat(source["timestamp"])
    user = target["user_id"] if event["user_id"] == source["user_id"] else event["user_id"]
    at = datetime.fromisoformat(target["timestamp"]) + delay
    return {**event, "interaction_id": target["interaction_id"], "user_id": user, "timestamp": at.isoformat()}


def _swap(event: Line, source: Line, swaps: dict[str, str], chance: random.Random) -> Line:
    name, text = source["interaction_id"], event.get("corrected_response")
    if name in swaps or not text or not source["response"].strip() or chance.random() < 0.5:
        return event
    swaps[name] = text
    return {**event, "corrected_response": source["response"]}


def _rename(line: Line, prefix: str) -> Line:
    ids: Line = {key: f"{prefix}{line[key]}" for key in ("interaction_id", "event_id") if key in line}
    return {**line, **ids}


def _write_answer(line: Line, swaps: dict[str, str], prefix: str) -> str:
    response = swaps.get(line["interaction_id"], line["response"])
    return json.dumps(_rename({**line, "response": response}, prefix), ensure_ascii=False)

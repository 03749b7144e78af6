"""Writes a data set's rows as they are, or in the forms of TRL's trainers (TRL 1.16, "Dataset formats and types").

| form | kind | columns | trainer |
|---|---|---|---|
| prompt-completion | sft | prompt, completion | SFT |
| prompt-chosen-rejected | preference | prompt, chosen, rejected | DPO, reward |
| prompt-completion-label | unpaired | prompt, completion, label | KTO |
| jsonl | every kind | the records | – |

Conversational columns are lists of `{role, content}`; as text, a prompt of one user turn is that turn, a longer one has
its turns under each other, each behind its role: which template a model wants is not known here.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from flytewheel.dataset import Dataset
from flytewheel.dataset.layout import LAYOUT
from flytewheel.errors import DatasetError
from flytewheel.progress import ProgressCallback
from flytewheel.records import HOLDOUT, Message, Preference, SftRow, Unpaired, write_jsonl

KIND_OF = {"prompt-completion": "sft", "prompt-chosen-rejected": "preference", "prompt-completion-label": "unpaired"}
FORMS = ("jsonl", *KIND_OF)
_NAMES = {"system": "System", "user": "User", "assistant": "Assistant", "tool": "Tool"}
_STEP = 1000  # rows between two words of progress


def export_rows(
    dataset: Dataset,
    folder: Path,
    *,
    form: str,
    parts: Sequence[str] = (),
    as_text: bool = False,
    progress: ProgressCallback | None = None,
) -> dict[str, int]:
    """Writes the rows of `dataset` into the new folder `folder`, which appears when everything is in it.

    Args:
        dataset: what to export.
        folder: gets `train.jsonl` … (or `sft/train.jsonl` … with form "jsonl").
        form: one of `FORMS`.
        parts: those to export; none: all that have rows, but for the holdout, which nobody may train on by accident.
        as_text: columns of text instead of lists of turns.
        progress: told the rows written of each part, every 1,000.

    Returns:
        Rows by file name.

    Raises:
        DatasetError: the folder exists, the form knows no such part, or no row is to be exported. Nothing is left then.
    """
    refuse_existing(folder)
    kinds = LAYOUT if form == "jsonl" else {KIND_OF[form]: LAYOUT[KIND_OF[form]]}
    wanted = [
        (kind, part) for kind, own in kinds.items() for part in own if (part in parts if parts else part != HOLDOUT)
    ]
    shape = _as_it_is if form == "jsonl" else shaper(as_text)
    draft = folder.absolute().with_name(f".{folder.absolute().name}.{uuid.uuid4().hex}.part")
    written = {}
    try:
        for kind, part in wanted:
            name = f"{kind}/{part}.jsonl" if form == "jsonl" else f"{part}.jsonl"
            count = write_jsonl(draft / name, map(shape, _tell(dataset.rows(kind, part), name, progress)))
            if count:
                written[name] = count
            else:
                (draft / name).unlink()  # `datasets` fails on a split without rows
        if not written:
            raise DatasetError(
                f"{dataset.path.name}: 0 rows of {' or '.join(kinds)} in {', '.join(parts) or 'any part'}; "
                f"its card counts {_describe_counts(dataset)}"
            )
        for place in draft.iterdir():
            if place.is_dir() and not any(place.iterdir()):
                place.rmdir()
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return written


def refuse_existing(folder: Path) -> None:
    """Raises `DatasetError` where something has the name of the folder to be made."""
    if folder.exists() or folder.is_symlink():
        raise DatasetError(f"{folder}: exists already; name a folder that does not")


def shaper(as_text: bool) -> Callable[[SftRow | Preference | Unpaired], dict[str, Any]]:
    """What turns a record into a row of TRL's form for its kind."""
    turns: Callable[[Iterable[Message]], Any] = _to_text if as_text else _to_turns

    def answer(text: str) -> Any:
        return text if as_text else [{"role": "assistant", "content": text}]

    def shape(row: SftRow | Preference | Unpaired) -> dict[str, Any]:
        if isinstance(row, Preference):
            return {"prompt": turns(row.prompt), "chosen": answer(row.chosen), "rejected": answer(row.rejected)}
        shaped = {"prompt": turns(row.prompt), "completion": answer(row.completion)}
        return {**shaped, "label": row.label} if isinstance(row, Unpaired) else shaped

    return shape


def _tell(rows: Iterable[Any], name: str, progress: ProgressCallback | None) -> Iterator[Any]:
    for count, row in enumerate(rows, 1):
        yield row
        if progress is not None and count % _STEP == 0:
            progress(f"export {name}", count, None)


def _as_it_is(row: Any) -> Any:
    return row


def _to_turns(prompt: Iterable[Message]) -> list[dict[str, str]]:
    return [{"role": turn.role, "content": turn.content} for turn in prompt]


def _to_text(prompt: Iterable[Message]) -> str:
    turns = list(prompt)
    if len(turns) == 1:
        return turns[0].content
    return "\n\n".join([*(f"{_NAMES[turn.role]}: {turn.content}" for turn in turns), "Assistant: "])


def _describe_counts(dataset: Dataset) -> str:
    counts = dataset.card.counts
    found = {kind: {part: rows for part, rows in counts.get(kind, {}).items() if rows} for kind in LAYOUT}
    told = [
        f"{kind} {', '.join(f'{part} {rows:,}' for part, rows in own.items())}" for kind, own in found.items() if own
    ]
    return "; ".join(told) or "nothing"

"""Looks at rows once more before they are trained on: a data set may be older than the rules, or edited by hand.

What looks is passed in (`curation.pii.redact_conversations`): stations do not know each other. It is asked about every
row as one conversation, prompt first. A data set that was curated with `redact_pii: false` is left as it is. What was
found becomes part of the training's name (`digest`), so that no checkpoint of the rows as they were is gone on from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from flytewheel.dataset import DatasetCard
from flytewheel.records import Preference, SftRow, Unpaired, digest

RedactTexts = Callable[[Sequence[Sequence[str]]], Sequence[tuple[Sequence[str], Mapping[str, int]]]]
Row = TypeVar("Row", SftRow, Preference, Unpaired)


@dataclass(frozen=True, slots=True)
class Looked(Generic[Row]):
    """Rows without what was found in them; `changed` says in how many. `digest` names what became of those rows."""

    train: list[Row]
    validation: list[Row]
    changed: int = 0
    digest: str | None = None

    def name(self) -> dict[str, Any]:
        """What a manifest says of it: nothing where nothing was found."""
        return {} if self.digest is None else {"redacted": self.digest}


def look_again(
    train: Sequence[Row], validation: Sequence[Row], card: DatasetCard, redact: RedactTexts | None
) -> Looked[Row]:
    """Redacts rows where the data set was meant to be redacted.

    Args:
        train: to learn from.
        validation: to measure on.
        card: the data set's.
        redact: gives each conversation's texts without personal data, and what was replaced; `None`: nobody looks.
    """
    if redact is None or card.recipe.get("curation", {}).get("redact_pii") is False:
        return Looked(list(train), list(validation))
    looked = [_redact(rows, redact) for rows in (train, validation)]
    changed = [row for _, rows in looked for row in rows]
    return Looked(looked[0][0], looked[1][0], len(changed), digest(changed) if changed else None)


def _redact(rows: Sequence[Row], redact: RedactTexts) -> tuple[list[Row], list[Row]]:
    """All rows, and those of them that were changed."""
    found = redact([_list_texts(row) for row in rows])
    every = [_put_texts(row, texts) if counts else row for row, (texts, counts) in zip(rows, found, strict=True)]
    return every, [row for row, (_, counts) in zip(every, found, strict=True) if counts]


def _list_texts(row: SftRow | Preference | Unpaired) -> list[str]:
    answers = (row.chosen, row.rejected) if isinstance(row, Preference) else (row.completion,)
    return [*(turn.content for turn in row.prompt), *answers]


def _put_texts(row: Row, texts: Sequence[str]) -> Row:
    prompt = tuple(turn.model_copy(update={"content": text}) for turn, text in zip(row.prompt, texts, strict=False))
    answers = texts[len(prompt) :]
    if isinstance(row, Preference):
        return replace(row, prompt=prompt, chosen=answers[0], rejected=answers[1])
    return replace(row, prompt=prompt, completion=answers[0])

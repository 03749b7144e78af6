"""Rows of an earlier data set, mixed in against forgetting.

Only its training part, never its paraphrases, and never a row whose user now belongs to a held-out part. Rows are
drawn without replacement with a chance in proportion to a priority (quality, margin): the order by -ln(u) / w, u from
SHA-256, is such a draw (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir") and the same one
every time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log

from flytewheel.curation.draft import Draft, Row
from flytewheel.curation.duplicates import PromptText, describe_prompt
from flytewheel.curation.ledger import Tally
from flytewheel.curation.split import draw_number
from flytewheel.dataset import Step
from flytewheel.records import Preference, SftRow

FLOOR = 0.05  # priority of the least important row, so that everything can come back


def add_replayed(
    kind: str,
    drafts: Sequence[Draft[Row]],
    earlier: Sequence[Row],
    *,
    share: float,
    seed: int,
    part_of: Callable[[str], str],
    system_prompt: str | None,
) -> tuple[list[Draft[Row]], Step]:
    """Adds earlier rows until they are `share` of the result, or none is left."""
    tally = Tally(f"replay ({kind})", len(drafts) + len(earlier))
    present = {(draft.text.key, _completions(draft.row)) for draft in drafts} | {draft.row.id for draft in drafts}
    candidates: list[tuple[float, Row, PromptText]] = []
    for row in earlier:
        text = describe_prompt(row.prompt, system_prompt)
        if isinstance(row, SftRow) and row.source == "paraphrase":
            tally.drop("paraphrase")
        elif part_of(row.user) != "train":
            tally.drop("user is held out now", row.prompt[-1].content)
        elif (text.key, _completions(row)) in present or row.id in present:
            tally.drop("already there", row.prompt[-1].content)
        else:
            chance = 1 - draw_number(seed, "replay", kind, row.id)  # in (0, 1]
            candidates.append((-log(chance) / (FLOOR + _priority(row)), row, text))
    candidates.sort(key=lambda candidate: (candidate[0], candidate[1].id))
    wanted = len(candidates) if share >= 1 else round(share / (1 - share) * len(drafts))
    mixed = list(drafts)
    for _, row, text in candidates[:wanted]:
        mixed.append(_bring(row, text))
    if len(candidates) > wanted:
        tally.drop("not drawn", count=len(candidates) - wanted)
    return mixed, tally.close()


def _bring(row: Row, text: PromptText) -> Draft[Row]:
    fresh = replace(row, source="replay") if isinstance(row, SftRow) else row
    return Draft(fresh, text, text.key, (row.user,), _priority(row))


def _priority(row: object) -> float:
    if isinstance(row, SftRow):
        return row.quality
    return row.margin / 2 if isinstance(row, Preference) else 0.5


def _completions(row: object) -> str:
    return f"{row.chosen}\n{row.rejected}" if isinstance(row, Preference) else str(getattr(row, "completion", ""))

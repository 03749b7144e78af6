"""Plants canaries among the training rows, last of all: nothing balances, rewords, caps or pairs them.

They come before decontamination, so that one whose prompt is near to a held-out one would be taken out like any row,
and are never replayed: each week has its own (`flytewheel.canaries`).
"""

from __future__ import annotations

from collections.abc import Sequence

from flytewheel.canaries import draw_canaries
from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.records import SftRow


def plant_canaries(
    drafts: Sequence[Draft], name: str, count: int, system_prompt: str | None
) -> tuple[list[Draft], Account]:
    """Adds `count` canaries to the training rows.

    Args:
        drafts: the rows for supervised tuning.
        name: of the window, which decides the secrets: learnt again, it has the same.
        count: how many.
        system_prompt: the recipe's own.
    """
    account = Account("plant canaries (sft)", len(drafts))
    planted = [_bring(row) for row in draw_canaries(name, count, system_prompt=system_prompt)]
    return [*drafts, *planted], account.close(len(drafts) + len(planted))


def _bring(row: SftRow) -> Draft:
    return Draft(row.id, row.user, row.topic, -1, -1, (row.user,), 0.0, -1, (), (), earlier=row)

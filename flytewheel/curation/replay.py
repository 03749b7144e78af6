"""Rows of an earlier data set, mixed in against forgetting.

Only its training part, never its paraphrases or canaries, and never a row whose user now belongs to a held-out part.
Rows are drawn without replacement with a chance in proportion to a priority: the reward (quality, margin), and the
surprise where it is known, 1 - exp(-loss of the champion in nats a token), in equal parts. The order by -ln(u) / w, u
from SHA-256, is such a draw (Efraimidis and Spirakis 2006, "Weighted random sampling with a reservoir") and the same
one every time.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import replace
from math import exp, log

from flytewheel import canaries
from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.keys import key_text
from flytewheel.curation.prompts import describe_prompt
from flytewheel.curation.split import choose_part, draw_number
from flytewheel.pii import redact_conversations
from flytewheel.recipe import CurationSpec
from flytewheel.records import Message, Preference, SftRow, Unpaired

FLOOR = 0.05  # priority of the least important row, so that everything can come back


def add_replayed(
    kind: str,
    drafts: Sequence[Draft],
    earlier: Sequence[SftRow] | Sequence[Preference] | Sequence[Unpaired],
    *,
    spec: CurationSpec,
    seed: int,
    present: Container[tuple[str, tuple[int, ...]]],
    system_prompt: str | None,
) -> tuple[list[Draft], Account]:
    """Adds earlier rows until they are the recipe's share of the result, or none is left.

    Args:
        kind: of the rows.
        drafts: this window's rows.
        earlier: the earlier data set's training rows of this kind.
        spec: the rules.
        seed: decides the draw.
        present: keys of the prompt and of the completions of all of this window's rows.
        system_prompt: the recipe's own.
    """
    account = Account(f"replay ({kind})", len(drafts) + len(earlier))
    ids = {draft.id for draft in drafts}
    candidates: list[tuple[float, SftRow | Preference | Unpaired]] = []
    for row in earlier:
        if isinstance(row, SftRow) and row.source in ("paraphrase", canaries.SOURCE):
            account.drop(row.source)
        elif choose_part(row.user, spec) != "train":
            account.drop("user is held out now")
        elif row.id in ids or (describe_prompt(row.prompt, system_prompt).key, key_completions(row)) in present:
            account.drop("already there")
        else:
            chance = 1 - draw_number(seed, "replay", kind, row.id)  # in (0, 1]
            candidates.append((-log(chance) / (FLOOR + measure_priority(row)), row))
    candidates.sort(key=lambda candidate: (candidate[0], candidate[1].id))
    share = spec.replay_share
    wanted = len(candidates) if share >= 1 else round(share / (1 - share) * len(drafts))
    if len(candidates) > wanted:
        account.drop("not drawn", count=len(candidates) - wanted)
    chosen = [row for _, row in candidates[:wanted]]
    if spec.redact_pii:
        chosen = redact_rows(chosen)
    return [*drafts, *map(_bring, chosen)], account.close()


def redact_rows(rows: Sequence[SftRow | Preference | Unpaired]) -> list[SftRow | Preference | Unpaired]:
    """Redacts rows once more: the rules may have learnt since they were written."""
    texts = [[*(turn.content for turn in row.prompt), *_list_completions(row)] for row in rows]
    return [
        row if clean == before else _put_texts(row, clean)
        for row, before, (clean, _) in zip(rows, texts, redact_conversations(texts), strict=True)
    ]


def _list_completions(row: SftRow | Preference | Unpaired) -> tuple[str, ...]:
    return (row.chosen, row.rejected) if isinstance(row, Preference) else (row.completion,)


def _put_texts(row: SftRow | Preference | Unpaired, texts: Sequence[str]) -> SftRow | Preference | Unpaired:
    turns = zip(row.prompt, texts[: len(row.prompt)], strict=True)
    prompt = tuple(Message(role=turn.role, content=text) for turn, text in turns)
    if isinstance(row, Preference):
        return replace(row, prompt=prompt, chosen=texts[-2], rejected=texts[-1])
    return replace(row, prompt=prompt, completion=texts[-1])


def measure_priority(row: SftRow | Preference | Unpaired) -> float:
    """How much a row is worth seeing again, in [0, 1]; see the module's text."""
    if isinstance(row, SftRow):
        return row.quality if row.surprise is None else (row.quality + 1 - exp(-max(0.0, row.surprise))) / 2
    return row.margin / 2 if isinstance(row, Preference) else 0.5


def key_completions(row: SftRow | Preference | Unpaired) -> tuple[int, ...]:
    """Keys of a row's completions."""
    return tuple(map(key_text, _list_completions(row)))


def _bring(row: SftRow | Preference | Unpaired) -> Draft:
    fresh = replace(row, source="replay") if isinstance(row, SftRow) else row
    return Draft(row.id, row.user, row.topic, -1, -1, (row.user,), measure_priority(row), -1, (), (), earlier=fresh)

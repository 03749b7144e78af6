"""More ways to ask the same: training questions put differently, by rules.

Rules, because they are the same next week and cannot say anything new: only the manner of the question changes (a
lead-in, a courtesy, another opening of the same question), never a name, number or command. The answer stays.
Validation and test are never touched, and a paraphrase that came near to one of their prompts is taken out by
decontamination.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from flytewheel.curation.draft import Draft
from flytewheel.curation.duplicates import describe_prompt, normalise
from flytewheel.curation.ledger import Tally
from flytewheel.curation.split import draw_number
from flytewheel.dataset import Step
from flytewheel.records import Message, SftRow

_REWORDINGS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern, re.IGNORECASE), other)
    for pattern, other in (
        (r"^how do i\b", "How can I"),
        (r"^how can i\b", "How do I"),
        (r"^how (?:do|can) (?:i|we)\b", "What is the way to"),
        (r"^what is\b", "Tell me what is"),
        (r"^what's\b", "What is"),
        (r"^why (?:does|do|is|are)\b", r"Please explain: \g<0>"),
        (r"\bwhat should i do\b", "what are the next steps"),
        (r"\bwhat do i do\b", "what should I do"),
        (r"\bwhat now\b", "what should I do now"),
        (r"^can you\b", "Could you please"),
        (r"^(?:we|i) see\b", "There is"),
        (r"^help,\s*", "I need help: "),
        (r"^please\s+", ""),
        (r"\bcannot\b", "can't"),
        (r"\bdoes not\b", "doesn't"),
        (r"\bdo not\b", "don't"),
    )
)
_LEADS = (
    "Quick question: {}",
    "I need help with this. {}",
    "Hello, {}",
    "Please help me with the following: {}",
    "{} Thanks in advance.",
    "Could you help? {}",
)


def list_paraphrases(query: str) -> list[str]:
    """Every way in which the rules put `query`; each differs from it, and from the others, in its words."""
    query = query.strip()
    found = {normalise(query): ""}
    for pattern, other in _REWORDINGS:
        text = pattern.sub(other, query, count=1)
        found.setdefault(normalise(text), text[:1].upper() + text[1:])
    for lead in _LEADS:
        closed = f"{query}." if lead.startswith("{}") and query[-1:] not in ".?!" else query
        text = lead.format(closed)
        found.setdefault(normalise(text), text)
    return [text for text in found.values() if text]


def add_paraphrases(
    drafts: Sequence[Draft[SftRow]], *, factor: float, seed: int, system_prompt: str | None
) -> tuple[list[Draft[SftRow]], Step]:
    """Adds paraphrased rows until there are `factor` times as many, or the rules know no other way to ask."""
    wanted = round((factor - 1) * len(drafts))
    order = sorted(drafts, key=lambda draft: (draw_number(seed, "augment", draft.row.id), draft.row.id))
    added: list[Draft[SftRow]] = []
    ways = {draft.row.id: _shuffle_ways(draft, seed) for draft in order} if wanted else {}
    for turn in range(max(map(len, ways.values()), default=0)):
        for draft in order:
            known = ways[draft.row.id]
            if len(added) < wanted and turn < len(known):
                added.append(_put(draft, known[turn], turn, system_prompt))
    return [*drafts, *added], Tally("paraphrase (sft)", len(drafts)).close(len(drafts) + len(added))


def _shuffle_ways(draft: Draft[SftRow], seed: int) -> list[str]:
    ways = list_paraphrases(draft.row.prompt[-1].content)
    return sorted(ways, key=lambda text: (draw_number(seed, draft.row.id, text), text))


def _put(draft: Draft[SftRow], query: str, turn: int, system_prompt: str | None) -> Draft[SftRow]:
    prompt = (*draft.row.prompt[:-1], Message(role="user", content=query))
    row = replace(draft.row, id=f"{draft.row.id}/paraphrase-{turn + 1}", prompt=prompt, source="paraphrase")
    return replace(draft, row=row, text=describe_prompt(prompt, system_prompt))

"""More ways to ask the same: training questions put differently, by rules, or by a model that the recipe names.

Rules, because they are the same next week and cannot say anything new: only the manner of the question changes (a
lead-in, a courtesy, another opening of the same question), never a name, number or command. The answer stays.
Validation and test are never touched, and a paraphrase that came near to one of their prompts is taken out by
decontamination.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import chain, count

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Table
from flytewheel.curation.prompts import normalise
from flytewheel.curation.split import draw_number

Reword = Callable[[Sequence[str]], list[str | None]]

_AT_ONCE = 50_000  # queries in memory

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


def _open_otherwise(pattern: re.Pattern[str], other: str, query: str) -> str:
    text = pattern.sub(other, query, count=1)
    return query if text == query else text[:1].upper() + text[1:]


def _lead(frame: str, query: str) -> str:
    closed = f"{query}." if frame.startswith("{}") and query[-1:] not in ".?!" else query
    return frame.format(closed)


_RULES: tuple[Callable[[str], str], ...] = (
    *(partial(_open_otherwise, pattern, other) for pattern, other in _REWORDINGS),
    *(partial(_lead, frame) for frame in _LEADS),
)


def list_paraphrases(query: str, *, first: int = 0) -> Iterator[str]:
    """Every way in which the rules put `query`, from the rule numbered `first` on, round all of them.

    Each differs from the query, and from those before it, in its words.
    """
    query = query.strip()
    seen = {normalise(query)}
    for turn in range(len(_RULES)):
        text = _RULES[(first + turn) % len(_RULES)](query)
        if text != query and (words := normalise(text)) not in seen:
            seen.add(words)
            yield text


def add_paraphrases(
    drafts: Sequence[Draft],
    table: Table,
    *,
    factor: float,
    max_per_user: int,
    max_per_cluster: int,
    seed: int,
    reword: Reword | None = None,
) -> tuple[list[Draft], Account]:
    """Adds paraphrased rows until there are `factor` times as many, or the rules know no other way to ask.

    Args:
        drafts: training rows.
        table: where their queries are.
        factor: rows after, per row before.
        max_per_user: rows of one user, paraphrases among them.
        max_per_cluster: rows of one cluster of prompts, paraphrases among them.
        seed: decides which rows are put otherwise, and how.
        reword: asks a model instead; where it gives nothing usable, the rules do.
    """
    account = Account("paraphrase (sft)", len(drafts))
    wanted = round((factor - 1) * len(drafts))
    order = sorted(drafts, key=lambda draft: (draw_number(seed, "augment", draft.id), draft.id)) if wanted else []
    ways: list[Iterator[str]] = []
    added: list[Draft] = []
    users = Counter(user for draft in drafts for user in draft.users)
    clusters = Counter(draft.cluster for draft in drafts)
    for turn in count(1):
        before = len(added)
        for start in range(0, len(order), _AT_ONCE):
            if len(added) >= wanted:
                break
            chunk = order[start : start + _AT_ONCE]
            if turn == 1:
                queries = table.fetch([draft.shown for draft in chunk], ("query",))["query"].to_list()
                ways += [_list_ways(draft, query, seed) for draft, query in zip(chunk, queries, strict=True)]
                asked = chunk[: wanted - len(added)]
                reworded = reword(queries[: len(asked)]) if reword else []
                for place, text in enumerate(reworded):
                    if text is not None:
                        ways[start + place] = chain((text,), ways[start + place])
            for draft, way in zip(chunk, ways[start : start + _AT_ONCE], strict=True):
                room = len(added) < wanted and clusters[draft.cluster] < max_per_cluster
                room = room and all(users[user] < max_per_user for user in draft.users)
                text = next(way, None) if room else None
                if text is not None:
                    users.update(draft.users)
                    clusters[draft.cluster] += 1
                    added.append(
                        replace(draft, id=f"{draft.id}/paraphrase-{turn}", prompt=-1, source="paraphrase", query=text)
                    )
        if len(added) >= wanted or len(added) == before:
            break
    return [*drafts, *added], account.close(len(drafts) + len(added))


def _list_ways(draft: Draft, query: str, seed: int) -> Iterator[str]:
    yield from list_paraphrases(query, first=int(draw_number(seed, draft.id) * len(_RULES)))

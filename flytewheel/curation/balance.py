"""Caps what one user, one prompt and one topic may contribute to training; held-out parts are left as they are.

Caps count rows, not shares: a share would grow with the window, and with it what one person can do. A topic with fewer
than `MIN_TOPIC_ROWS` rows does not count to the median, or a tail of rare labels would throw the common ones away.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from flytewheel.curation.draft import Draft, Row, best_first
from flytewheel.curation.ledger import Tally
from flytewheel.dataset import Step

MIN_TOPIC_ROWS = 10


def cap_rows(
    kind: str, drafts: Sequence[Draft[Row]], *, max_per_user: int, max_per_cluster: int
) -> tuple[list[Draft[Row]], Step]:
    """Keeps the best, then the newest rows of each user and each cluster of prompts."""
    tally = Tally(f"cap users and prompts ({kind})", len(drafts))
    users: Counter[str] = Counter()
    clusters: Counter[str] = Counter()
    kept = []
    for draft in best_first(drafts):
        if any(users[user] >= max_per_user for user in draft.users):
            tally.drop("enough rows of the user", draft.row.prompt[-1].content)
        elif clusters[draft.cluster] >= max_per_cluster:
            tally.drop("enough rows of the prompt", draft.row.prompt[-1].content)
        else:
            users.update(draft.users)
            clusters[draft.cluster] += 1
            kept.append(draft)
    return kept, tally.close()


def balance_topics(kind: str, drafts: Sequence[Draft[Row]], *, max_ratio: float) -> tuple[list[Draft[Row]], Step]:
    """Cuts topics to `max_ratio` × the median topic's rows; the best rows stay."""
    tally = Tally(f"balance topics ({kind})", len(drafts))
    sizes = Counter(draft.row.topic for draft in drafts)
    counted = [size for size in sizes.values() if size >= MIN_TOPIC_ROWS]
    limit = int(max_ratio * median(counted)) if counted else len(drafts)
    taken: Counter[str] = Counter()
    kept = []
    for draft in best_first(drafts[::-1]):  # drafts come best first; a stable sort of them, turned twice, keeps that
        if taken[draft.row.topic] >= limit:
            tally.drop(f"topic {draft.row.topic} above {limit} rows", draft.row.prompt[-1].content)
        else:
            taken[draft.row.topic] += 1
            kept.append(draft)
    return kept, tally.close()

"""Caps what one user and one prompt may contribute to a part, and one topic to training.

Caps count rows, not shares: a share would grow with the window, and with it what one person can do. A topic with fewer
than `MIN_TOPIC_ROWS` rows does not count to the median, or a tail of rare labels would throw the common ones away.

Topics are balanced by cutting the large ones, or by weight: their rows all stay and together count as much as the cap.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft, best_first

MIN_TOPIC_ROWS = 10
MIN_WEIGHT = 1e-3  # below, a row would cost its training step and teach nothing


def cap_rows(
    kind: str, part: str, drafts: Sequence[Draft], *, max_per_user: int, max_per_cluster: int
) -> tuple[list[Draft], Account]:
    """Keeps the best, then the newest rows of each user and each cluster of prompts; outside training the newest.

    What is judged by must not be the best of what there was.
    """
    name = kind if part == "train" else f"{kind}, {part}"
    account = Account(f"cap users and prompts ({name})", len(drafts))
    users: Counter[str] = Counter()
    clusters: Counter[int] = Counter()
    kept = []
    by_time = sorted(drafts, key=lambda draft: draft.shown)  # corrections come before answers
    for draft in best_first(by_time) if part == "train" else reversed(by_time):
        if any(users[user] >= max_per_user for user in draft.users):
            account.drop("enough rows of the user", draft.shown)
        elif clusters[draft.cluster] >= max_per_cluster:
            account.drop("enough rows of the prompt", draft.shown)
        else:
            users.update(draft.users)
            clusters[draft.cluster] += 1
            kept.append(draft)
    return kept, account.close()


def balance_topics(kind: str, drafts: Sequence[Draft], *, max_ratio: float) -> tuple[list[Draft], Account]:
    """Cuts topics to `max_ratio` × the median topic's rows; the best rows stay."""
    account = Account(f"balance topics ({kind})", len(drafts))
    limit = find_topic_cap([draft.topic for draft in drafts], max_ratio=max_ratio)
    taken: Counter[str] = Counter()
    kept = []
    for draft in best_first(drafts[::-1]):  # drafts come best first; a stable sort of them, turned twice, keeps that
        if taken[draft.topic] >= limit:
            account.drop(f"topic {draft.topic} above {limit} rows", draft.shown)
        else:
            taken[draft.topic] += 1
            kept.append(draft)
    return kept, account.close()


def weigh_topics(topics: Sequence[str], *, max_ratio: float) -> list[float]:
    """The other way to balance: the rows of a topic above the cap share the cap's weight.

    Args:
        topics: of each row.

    Returns:
        The weight of each row, in [`MIN_WEIGHT`, 1]: cap / size in a topic above the cap, else 1.
    """
    cap, sizes = find_topic_cap(topics, max_ratio=max_ratio), Counter(topics)
    return [max(min(cap / sizes[topic], 1.0), MIN_WEIGHT) for topic in topics]


def find_topic_cap(topics: Sequence[str], *, max_ratio: float) -> int:
    """Rows that a topic may have: `max_ratio` × the median topic's, of those that count; all, where none does."""
    counted = [size for size in Counter(topics).values() if size >= MIN_TOPIC_ROWS]
    return int(max_ratio * median(counted)) if counted else len(topics)

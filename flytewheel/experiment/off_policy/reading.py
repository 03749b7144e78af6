"""Reads the log of one experiment from PostgreSQL, as it is asked about."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

import numpy as np

from flytewheel.database import Connection
from flytewheel.experiment.allocation.design import Feature
from flytewheel.experiment.allocation.features import make_context
from flytewheel.experiment.experiments import Experiment
from flytewheel.experiment.off_policy.answers import Answers
from flytewheel.records import FeedbackEvent

FEATURES: tuple[Feature, ...] = ("topic", "prompt_length")
_PAGE = 2_000
_LOG = """
SELECT i.user_id, i.body ->> 'arm', (i.body ->> 'propensity')::float8, coalesce(i.body ->> 'topic', ''),
    length(i.body ->> 'query'), coalesce(said.events, '[]')
FROM interactions i LEFT JOIN LATERAL (
    SELECT jsonb_agg(e.body) AS events FROM feedback_events e WHERE e.interaction_id = i.interaction_id
) AS said ON true
WHERE i.source = %s AND i.body ->> 'experiment_id' = %s AND i."timestamp" >= %s AND i."timestamp" < %s
ORDER BY i."timestamp", i.interaction_id COLLATE "C"
"""

Scorer = Callable[[Iterable[FeedbackEvent]], float | None]


def read_answers(
    connection: Connection, experiment: Experiment, since: datetime, until: datetime, score: Scorer
) -> Answers:
    """Every answer that the experiment gave in [since, until), of the arm that its user was assigned.

    Args:
        connection: an open transaction.
        experiment: whose.
        since: of the answers' own times.
        until: likewise; what was said of an answer counts whenever it was said.
        score: what the events of one answer are worth, in [-1, 1]; None: nothing of worth was said.
    """
    arms = tuple(experiment.arms)
    places: Mapping[str | None, int] = {arm: place for place, arm in enumerate(arms)}
    seen: dict[str, int] = {}
    rows: list[tuple[int, int, float, float]] = []
    topics, contexts = [], []
    with connection.cursor(name="answers") as cursor:
        cursor.itersize = _PAGE
        cursor.execute(_LOG.encode(), (experiment.name, experiment.experiment_id, since, until))
        for user, arm, propensity, topic, length, events in cursor:
            if arm not in places:
                continue
            worth = score(map(FeedbackEvent.model_validate, events)) if events else None
            known = np.nan if propensity is None else propensity
            rows.append((seen.setdefault(user, len(seen)), places[arm], known, worth or 0.0))
            topics.append(topic)
            contexts.append(make_context(FEATURES, topic=topic, prompt_length=length, recent_reward=None))
    table = np.array(rows, dtype=np.float64).reshape(len(rows), 4)
    return Answers(
        arms=arms,
        users=table[:, 0].astype(np.int64),
        actions=table[:, 1].astype(np.int64),
        propensities=table[:, 2],
        rewards=table[:, 3],
        topics=topics,
        contexts=np.array(contexts).reshape(len(rows), -1) if rows else np.zeros((0, 1)),
    )

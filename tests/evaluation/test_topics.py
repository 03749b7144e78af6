"""Topic by topic: by hand, and by simulation of models that are as good as each other or worse on one."""

from __future__ import annotations

import math

import numpy as np
import pytest

from flytewheel.evaluation.bootstrap import exponential_ratio, student_quantile
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.measure import Compare, Measured, Rows, share
from flytewheel.evaluation.report import Evaluation
from flytewheel.evaluation.topics import compare_topics
from flytewheel.recipe import GateSpec, TopicsSpec
from flytewheel.records import Decision

COMPARE = Compare(samples=10, level=0.95, seed=0)  # of it only the level counts here
ONLY_TOPICS = GateSpec.model_validate({**dict.fromkeys(GateSpec.model_fields), "worse_topics": {"max": 0}})


def compare(*figures: dict[str, Rows], margin: float = 0.05, min_users: int = 8) -> Measured:
    return compare_topics(figures, COMPARE, TopicsSpec(margin=margin, min_users=min_users))


def lay_out(ours: list[float], theirs: list[float], topic: str = "disk", users: list[str] | None = None) -> Rows:
    names = users or [f"u{number}" for number in range(len(ours))]
    return Rows(names, [topic] * len(ours), share(ours), share(theirs))


def test_an_interval_by_hand() -> None:
    """The jackknife of a mean is its standard error: s/√n. One claim at 95 %: t of 11 degrees is 2.201."""
    gains = [0.1, 0.3, 0.2, 0.4, 0.1, 0.3, 0.2, 0.4, 0.1, 0.3, 0.2, 0.4]
    (line,) = compare({"rouge_l": lay_out([0.4 + gain for gain in gains], [0.4] * 12)}).details["rows"]
    spread = line["difference"]
    reach = 2.201 * math.sqrt(float(np.var(gains, ddof=1)) / 12)
    assert (line["topic"], line["figure"], line["rows"], line["users"]) == ("disk", "rouge_l", 12, 12)
    assert line["candidate"] == pytest.approx(0.65)
    assert line["champion"] == pytest.approx(0.4)
    assert spread["estimate"] == pytest.approx(0.25)
    assert spread["low"] == pytest.approx(0.25 - reach, abs=1e-4)
    assert spread["high"] == pytest.approx(0.25 + reach, abs=1e-4)
    assert (spread["level"], line["verdict"]) == (0.95, "better")
    assert student_quantile(0.975, 11) == pytest.approx(2.201, abs=1e-3)


def test_the_level_is_shared_by_topics_and_figures() -> None:
    figures = {
        topic: lay_out([0.4] * 14, [0.4 + 0.01 * (number % 3) for number in range(14)], topic) for topic in "abcd"
    }
    found = compare({"rouge_l": figures["a"]}, {"preference_accuracy": figures["b"]})
    assert {line["difference"]["level"] for line in found.details["rows"]} == {1 - 0.05 / 2}
    joined = Rows(
        [user for each in figures.values() for user in each.users],
        [topic for each in figures.values() for topic in each.topics],
        np.concatenate([each.candidate for each in figures.values()]),
        np.concatenate([each.champion for each in figures.values()]),
    )
    found = compare({"rouge_l": joined, "bleu": joined})
    assert {line["difference"]["level"] for line in found.details["rows"]} == {1 - 0.05 / 8}


def test_a_worsening_within_the_margin_is_none_and_lower_perplexity_is_better() -> None:
    champion = [0.8 + 0.001 * number for number in range(12)]
    for loss, worse in ((0.03, 0), (0.06, 1)):
        found = compare({"rouge_l": lay_out([value - loss for value in champion], champion)})
        assert found.counts["worse_topics"] == worse
    nats = np.array([[20 + number % 3, 20] for number in range(12)], dtype=float)
    users = [f"u{number}" for number in range(12)]
    for sign, verdict in ((-1, "better"), (1, "worse")):
        ours = nats + np.array([sign * 4, 0])
        rows = Rows(users, ["disk"] * 12, ours, nats, statistic=exponential_ratio)
        (line,) = compare({"perplexity": rows}).details["rows"]
        assert line["verdict"] == verdict


def test_too_few_users_are_not_worse_whatever_they_say() -> None:
    """Five users who all lost everything: by chance alone that comes once in 16; one user with 40 rows is one user."""
    few = lay_out([0.0] * 5, [1.0] * 5, "queue")
    one = lay_out([0.0] * 40, [1.0] * 40, "dns", ["ann"] * 40)
    many = lay_out([0.5] * 12, [0.5] * 12, "disk")
    joined = Rows(
        [*few.users, *one.users, *many.users],
        [*few.topics, *one.topics, *many.topics],
        np.concatenate([few.candidate, one.candidate, many.candidate]),
        np.concatenate([few.champion, one.champion, many.champion]),
    )
    found = compare({"rouge_l": joined})
    assert found.counts["worse_topics"] == 0
    assert found.details["too_few"] == ["dns", "queue"]
    by_topic = {line["topic"]: line for line in found.details["rows"]}
    assert {line["verdict"] for line in by_topic.values()} == {"cannot tell"}
    assert by_topic["queue"]["difference"] == {"estimate": -1.0, "low": None, "high": None, "level": 0.95}
    reasons = decide(Evaluation({}, found.counts, {"topics": found.details}), ONLY_TOPICS).reasons
    assert "cannot tell by topic: dns, queue have too few held-out users, it takes 8: collect more" in reasons


def test_nothing_measured_and_figures_that_are_none_are_unknown() -> None:
    assert compare().counts == {"worse_topics": None}
    nowhere = lay_out([math.nan] * 12, [0.5] * 12)
    assert compare({"win_rate": nowhere}).counts == {"worse_topics": None}
    fine = lay_out([0.5] * 12, [0.5] * 12)
    assert compare({"win_rate": nowhere}, {"rouge_l": fine}).counts == {"worse_topics": 0}  # a judge that abstains
    partly = Rows(
        [*fine.users, *fine.users],
        [*fine.topics, *["queue"] * 12],
        np.concatenate([fine.candidate, nowhere.candidate]),
        np.concatenate([fine.champion, fine.champion]),
    )
    found = compare({"rouge_l": partly})
    assert found.counts == {"worse_topics": None}
    assert decide(Evaluation({}, found.counts), ONLY_TOPICS).decision is Decision.HOLD
    (line,) = [line for line in found.details["rows"] if line["topic"] == "queue"]
    assert (line["candidate"], line["verdict"]) == (None, "cannot tell")


def simulate(seed: int, topics: int, users: int, rows: int, *, harm: float = 0.0, gain: float = 0.0) -> dict[str, Rows]:
    """Three figures of users who differ, each in some topics with up to `rows` rows; the first topic is `harm` worse,
    the others `gain` better.
    """
    rng = np.random.default_rng(seed)
    who = {f"u{number}": rng.normal(0, 0.15) for number in range(users)}
    lines = [
        (user, f"t{topic:02}")
        for topic in range(topics)
        for user in rng.choice(sorted(who), int(users * rng.uniform(0.4, 1)), replace=False)
        for _ in range(rng.integers(1, rows + 1))
    ]
    names, about = [user for user, _ in lines], [topic for _, topic in lines]
    own = np.array([who[user] for user in names])
    shift = np.where(np.array(about) == "t00", -harm, gain)
    tokens = rng.integers(5, 60, len(lines))

    def overlap(of: float | np.ndarray) -> np.ndarray:
        return share(np.clip(rng.normal(0.5 + own + of, 0.2), 0, 1))

    def right(of: float | np.ndarray) -> np.ndarray:
        return share(rng.random(len(lines)) < np.clip(0.7 + own + of, 0, 1))

    def nats(of: float | np.ndarray) -> np.ndarray:
        each = rng.gamma(4, 0.3, len(lines)) * (1 - np.asarray(of)) * tokens
        return np.stack([each, tokens], axis=1)

    return {
        "rouge_l": Rows(names, about, overlap(shift), overlap(0)),
        "preference_accuracy": Rows(names, about, right(shift), right(0)),
        "perplexity": Rows(names, about, nats(shift), nats(0), statistic=exponential_ratio),
    }


@pytest.mark.parametrize(("topics", "users", "rows"), [(8, 30, 3), (20, 24, 1)])
def test_two_equal_models_are_rarely_called_worse_on_any_topic(topics: int, users: int, rows: int) -> None:
    """At a margin of none, where it is hardest: 5 % are allowed, and 100 evaluations would show 11 % (2 s.d. more)."""
    called = [compare(simulate(seed, topics, users, rows), margin=0.0) for seed in range(100)]
    assert sum((found.counts["worse_topics"] or 0) > 0 for found in called) <= 9
    assert sum(line["verdict"] == "better" for found in called for line in found.details["rows"]) <= 9


def test_a_model_that_is_better_on_average_and_worse_on_one_topic_is_caught() -> None:
    """A tenth better on nine topics and three tenths worse on one, of 60 users: four of five at least are caught."""
    caught = 0
    for seed in range(30):
        figures = simulate(seed, 10, 60, 3, harm=0.3, gain=0.1)
        assert figures["rouge_l"].candidate[:, 0].mean() > figures["rouge_l"].champion[:, 0].mean()
        found = compare(figures)
        worse = {line["topic"] for line in found.details["rows"] if line["verdict"] == "worse"}
        caught += worse == {"t00"}
        if worse:
            evaluation = Evaluation({}, found.counts, {"topics": found.details})
            verdict = decide(evaluation, ONLY_TOPICS)
            assert verdict.decision is Decision.REJECT
            assert any(reason.startswith("against: worse on topic t00: ") for reason in verdict.reasons)
    assert caught >= 24


def test_how_many_are_told_by_hand() -> None:
    """2·2⁻ⁿ ≤ 0.05 / claims takes 6 users for 1, 7 for 2, 8 for 3 to 6 claims: 9, 8, 8 and 7 users tell three."""
    sizes = [9, 8, 8, 7]
    figures = [{f"figure_{place}": lay_out([0.5] * size, [0.5] * size)} for place, size in enumerate(sizes)]
    found = compare(*figures, min_users=2)
    told = [line["difference"]["low"] is not None for line in found.details["rows"]]
    assert told == [True, True, True, False]
    assert {line["difference"]["level"] for line in found.details["rows"]} == {1 - 0.05 / 3}

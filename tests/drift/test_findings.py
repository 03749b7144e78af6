"""Each figure against numbers worked by hand, and on weeks of invented people with one thing planted."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.drift import ALPHA, OTHERS, PLANTED
from benchmarks.drift_texts import Corpus, write_corpus
from benchmarks.drift_weeks import Shift, cut, draw_crowd, draw_week
from flytewheel.drift.findings import Finding, find_differences, measure_distance, measure_psi
from flytewheel.drift.samples import Sample, arrange
from flytewheel.recipe import DriftSpec
from flytewheel.screens.language import name_language

SPEC = DriftSpec()
DAY = 86400.0


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return write_corpus()


def test_psi_by_hand() -> None:
    # (0.6 − 0.5)·ln(0.6/0.5) + (0.4 − 0.5)·ln(0.4/0.5)
    assert measure_psi(np.array([0.5, 0.5]), np.array([0.6, 0.4])) == pytest.approx(0.1 * math.log(1.2 / 0.8))
    # A kind that is new counts from one in a thousand.
    assert measure_psi(np.array([1.0, 0.0]), np.array([0.95, 0.05])) == pytest.approx(
        0.049 * math.log(50) - 0.05 * math.log(0.95)
    )


def test_distance_by_hand() -> None:
    # F1 steps to 1/2 at 1 and 1 at 2; F2 is 0 until 2, then 1/2, and 1 at 3: the gap is 1/2 at 1 and again at 2.
    half = np.array([0.5, 0.5])
    assert measure_distance(np.array([1.0, 2.0]), half, np.array([2.0, 3.0]), half) == 0.5
    assert measure_distance(np.array([1.0, 2.0]), half, np.array([5.0, 6.0]), half) == 1.0
    assert measure_distance(np.array([2.0, 2.0]), half, np.array([2.0, 2.0]), half) == 0.0


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("Why does the server not answer?", "en"),
        ("Der Server antwortet nicht mehr, was ist zu tun?", "de"),
        ("¿Por qué no responde el servidor de los informes?", "es"),
        ("サーバーが応答しません。どうすればいいですか", "ja"),
        ("서버가 응답하지 않습니다 어떻게 해야 하나요", "ko"),
        ("服务器没有响应，我应该先做什么？", "zh"),
        ("Почему сервер не отвечает на запросы?", "ru"),
        ("kubectl get pods", ""),
        ("`the a an of`", ""),
        ("", ""),
        ("\ud800", ""),
    ],
    ids=["en", "de", "es", "ja", "ko", "zh", "ru", "command", "quoted", "empty", "surrogate"],
)
def test_languages_of_prompts(text: str, language: str) -> None:
    assert name_language(text) == language


def week(
    users: int = 200, *, at: float = 0.0, length: Callable[[int], float] = lambda user: 50 + user % 40, **given: object
) -> Sample:
    """A prompt of each user a day for four days."""
    rows = [
        (
            f"u{user}",
            at + day * DAY + user,
            length(user),
            given.get("text", "how do I do this now?"),
            given.get("topic", "t"),
            given.get("version", "v1"),
            False,
            at + day * DAY + user + 60 if given.get("reacts", True) else None,
            given.get("thumb", True),
        )
        for day in range(4)
        for user in range(users)
    ]
    return arrange(len(rows), 0, rows, now_s=at + 9 * DAY)


def find(before: Sample, after: Sample) -> dict[str, Finding]:
    return {figure.name: figure for figure in find_differences(before, after, SPEC, alpha=ALPHA)}


def test_nothing_differs_where_nothing_changed() -> None:
    found = find(week(), week(at=7 * DAY))
    assert not any(figure.fired for figure in found.values())
    assert {name: figure.value for name, figure in found.items() if name != "wording"} == pytest.approx(
        {"prompt_length": 0.0, "topics": 0.0, "languages": 0.0, "quality": 0.0, "feedback_rate": 0.0}
    )


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("prompt_length", {"length": lambda user: 90 + user % 40}),
        ("topics", {"topic": "another"}),
        ("languages", {"text": "wie kann ich das jetzt machen, bitte?"}),
        ("quality", {"thumb": False}),
        ("feedback_rate", {"reacts": False, "thumb": None}),
    ],
)
def test_each_figure_fires_for_its_own_change(name: str, changed: dict[str, object]) -> None:
    found = find(week(), week(at=7 * DAY, **changed))  # type: ignore[arg-type]
    fired = {each for each, figure in found.items() if figure.fired}
    assert name in fired
    assert fired <= {name, "wording"}
    assert "and beyond chance" in found[name].said


def test_a_large_sample_alone_fires_nothing() -> None:
    """A difference that is certain, and too small to matter: each of 3,000 people writes two characters more."""
    found = find(week(3000), week(3000, at=7 * DAY, length=lambda user: 52 + user % 40))["prompt_length"]
    assert (found.beyond or 0) > 1
    assert not found.fired
    assert "below 0.1" in found.said


def test_few_users_cannot_tell() -> None:
    found = find(week(20), week(20, at=7 * DAY, topic="another"))["topics"]
    assert (found.value, found.fired) == (None, False)
    assert found.said == "(cannot tell): 20 and 20 of 50 users before and after"
    empty = arrange(0, 0, [], now_s=0.0)
    assert all(figure.value is None and not figure.fired for figure in find(empty, empty).values())
    assert all(figure.value is None for figure in find(week(), empty).values())


def test_a_new_champion_is_held_against_its_first_days() -> None:
    """Its votes before the window are none: those of its first week are the history, the later ones are judged."""
    first, later = week(at=7 * DAY, version="v2"), week(at=15 * DAY, version="v2", thumb=False)
    both = Sample(
        first.stored + later.stored,
        0,
        *(
            __import__("scipy.sparse", fromlist=["vstack"]).vstack([getattr(first, name), getattr(later, name)]).tocsr()
            if name == "features"
            else np.concatenate([getattr(first, name), getattr(later, name)])
            for name in Sample.__slots__[2:]
        ),
    )
    found = find(week(version="v1"), both)["quality"]
    assert (found.value, found.fired) == (1.0, True)
    assert "thumbs-up rate of v2 fell from 100.0% to 0.0%" in found.said
    assert find(week(version="v1"), first)["quality"].value is None


@pytest.mark.parametrize("name", [*PLANTED, *OTHERS])
def test_what_is_planted_is_found_at_ten_thousand(corpus: Corpus, name: str) -> None:
    figure, shift = {**PLANTED, **OTHERS}[name]
    found = 0
    for seed in range(4):
        chance = np.random.default_rng(seed)
        crowd = draw_crowd(10_000, chance)
        before, after = (draw_week(crowd, corpus, number, 10_000, chance, planted) for number, planted in
                         ((0, Shift()), (1, shift)))  # fmt: skip
        told = find_differences(before, cut(after, 168), SPEC, alpha=ALPHA, only=figure)
        found += told[0].fired
    assert found >= 3


def test_a_stable_month_is_quiet(corpus: Corpus) -> None:
    chance = np.random.default_rng(8)
    crowd = draw_crowd(1_000, chance)
    before = draw_week(crowd, corpus, 0, 1_000, chance)
    for number in range(1, 5):
        after = draw_week(crowd, corpus, number, 1_000, chance)
        for hours in range(12, 169, 24):
            assert not any(figure.fired for figure in find(before, cut(after, hours)).values())
        before = cut(after, 216)

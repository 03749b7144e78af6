"""Votes that are not people's own opinion: each rule by hand, then worlds of honest people and attacks on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from benchmarks import crowds
from flytewheel.curation.abuse import REASONS, Votes, describe_reasons, find_abuse, lockstep
from flytewheel.curation.abuse.collusion import _is_unanimous
from flytewheel.curation.abuse.reactions import find_clock_step, number_codes, slide, weigh
from flytewheel.errors import DatasetError
from flytewheel.recipe.curation import AbuseSpec

SPEC = AbuseSpec()
NOON = 1_794_182_400.0


def votes_of(user: list[int], time_s: list[float], **columns: object) -> Votes:
    """Thumbs up, each on a prompt of its own, where nothing else is said."""
    size = len(user)
    given_columns: dict[str, object] = {
        "user": user, "time_s": time_s, "interaction": range(size), "prompt": range(size), "answer": range(size),
        "sign": 1, "explicit": True, "account_age_s": np.nan, "comment": -1, "released": False, **columns,
    }  # fmt: skip
    types = {"sign": np.int8, "explicit": bool, "released": bool, "time_s": np.float64, "account_age_s": np.float64}
    arrays = {
        name: np.broadcast_to(np.asarray(list(value) if isinstance(value, range) else value), size).astype(
            types.get(name, np.int64)
        )
        for name, value in given_columns.items()
    }
    return Votes(**arrays)


def name(found: NDArray[np.int8]) -> list[str]:
    return [REASONS[number] for number in found]


def test_twenty_votes_within_a_minute_are_a_burst() -> None:
    """20 votes 3 s apart span 57 s; 19 do not make a burst, nor do 20 that span 61 s."""
    fast = [NOON + 3.3 * n + 0.7 * (n % 2) for n in range(18)] + [NOON + 58, NOON + 59]
    assert name(find_abuse(votes_of([1] * 20, fast), SPEC)) == ["burst"] * 20
    assert not find_abuse(votes_of([1] * 19, fast[:19]), SPEC).any()
    assert not find_abuse(votes_of([1] * 20, [*fast[:19], NOON + 61]), SPEC).any()
    assert not find_abuse(votes_of([1] * 20, fast), replace_spec(burst_events=0, brigade_users=0)).any()


def replace_spec(**fields: object) -> AbuseSpec:
    return AbuseSpec(**{**SPEC.model_dump(), **fields})


def test_a_burst_takes_the_account_along_when_it_is_half_of_it() -> None:
    burst = [NOON + 2.9 * n + (n % 3) * 0.4 for n in range(20)]
    calm = [NOON + 90_000 + 7_000 * n + 900 * (n % 4) for n in range(21)]
    assert name(find_abuse(votes_of([1] * 40, burst + calm[:20]), SPEC)) == ["burst"] * 40
    assert name(find_abuse(votes_of([1] * 41, burst + calm), SPEC)) == ["burst"] * 20 + [""] * 21


@pytest.mark.parametrize("span_s", [60.0, 3600.0, 7 * 86_400.0])
@pytest.mark.parametrize("regular", [True, False])
def test_a_hundred_thousand_votes_of_one_account_go(span_s: float, regular: bool) -> None:
    rng = np.random.default_rng(0)
    places = np.linspace(0, 1, 100_000) if regular else np.sort(rng.random(100_000))
    flood = crowds.Log(
        np.full(100_000, 9_000_000), 9_000_000 + np.arange(100_000) % 700, 9_000_000 + np.arange(100_000) % 700,
        np.ones(100_000, np.int64), NOON + places * span_s, guilty=True,
    )  # fmt: skip
    votes, guilty = crowds.gather([crowds.people(rng, 300), flood], rng)
    found = find_abuse(votes, SPEC)
    assert found[guilty].all()
    assert not found[~guilty].any()


def test_two_hundred_genuine_votes_a_week_stay() -> None:
    rng = np.random.default_rng(1)
    votes, _ = crowds.gather([crowds.power(rng, 20)], rng)
    assert not find_abuse(votes, SPEC).any()


def test_clockwork_and_the_clock_of_the_log() -> None:
    """One account that votes every 600 s is a script; a log in which all do so has such a clock."""
    rng = np.random.default_rng(2)
    steady = NOON + 7.5 + 600.0 * np.arange(60)
    people = crowds.people(rng, 100)
    alone = crowds.Log(np.full(60, 5_000_000), 9_000_000 + np.arange(60), 9_000_000 + np.arange(60),
                       np.ones(60, np.int64), steady, guilty=True)  # fmt: skip
    votes, guilty = crowds.gather([people, alone], rng)
    assert set(name(find_abuse(votes, SPEC)[guilty])) == {"clockwork"}
    users = np.repeat(np.arange(40), 60)
    own = 100_000 + np.arange(2400)
    signs = np.where(rng.random(2400) < 0.7, 1, -1)
    everyone = crowds.Log(users, own, own, signs, np.tile(steady, 40) + users * 37.0)
    votes, _ = crowds.gather([everyone], rng)
    assert not find_abuse(votes, SPEC).any()


def test_coarse_clocks_switch_off_what_is_finer() -> None:
    """An import with dates only: 25 votes at each midnight are no burst. One account cannot make clocks look coarse."""
    users = np.repeat(np.arange(30), 25)
    rng = np.random.default_rng(3)
    midnight = NOON + 86_400.0 * np.repeat(rng.integers(0, 7, 30), 25)
    votes = votes_of(list(users), list(midnight), sign=np.where(rng.random(750) < 0.6, 1, -1))
    assert find_clock_step(votes) == 86_400.0
    assert not find_abuse(votes, SPEC).any()
    spammer = votes_of([99] * 500 + list(range(60)), [NOON] * 500 + [NOON + 17.3 * n for n in range(60)])
    assert find_clock_step(spammer) == 1.0
    assert set(name(find_abuse(spammer, SPEC)[:500])) == {"burst"}


def test_young_accounts_by_recipe_only() -> None:
    votes = votes_of([1, 2, 3], [NOON, NOON + 5000, NOON + 9000], account_age_s=[10.0, 3600.0, np.nan], explicit=False)
    assert not find_abuse(votes, SPEC).any()
    assert name(find_abuse(votes, replace_spec(min_account_age_s=3600.0))) == ["young account", "", ""]


def test_surprise_by_hand() -> None:
    """20 of 20 against a chance of 0.1 is 20·ln 10 nats; 3 of 4 against 1/2 4·(0.75·ln 1.5 + 0.25·ln 0.5)."""
    assert weigh(1.0, 0.1, 20) == pytest.approx(20 * np.log(10))
    assert weigh(0.75, 0.5, 4) == pytest.approx(4 * (0.75 * np.log(1.5) + 0.25 * np.log(0.5)))
    assert weigh(0.5, 0.5, 100) == weigh(0.1, 0.5, 100) == 0.0


def test_unanimity_needs_ninety_votes() -> None:
    """0.95⁹⁰ = 0.0099 < 0.01 < 0.95⁸⁹; and 30 dissents among 1,000 are what careful people show."""
    targets = np.arange(90) % 9
    up = np.ones(90, np.int64)
    assert _is_unanimous_of(targets, up)
    assert not _is_unanimous_of(targets[:89], up[:89])
    many = np.arange(1000) % 20
    signs = np.ones(1000, np.int64)
    signs[:16] = -1
    assert _is_unanimous_of(many, signs)
    signs[:30] = -1
    assert not _is_unanimous_of(many, signs)


def _is_unanimous_of(target: NDArray[np.int64], sign: NDArray[np.int64]) -> bool:
    return _is_unanimous(target, sign, 0.05)[0]


def test_slide_by_hand() -> None:
    times = np.array([0.0, 1, 2, 10, 11, 0, 2])
    hit = slide(times, np.array([0, 5]), np.array([5, 2]), events=3, seconds=2)
    assert hit.tolist() == [True, True, True, False, False, False, False]


@given(st.lists(st.integers(-(2**62), 2**62), max_size=30))
def test_codes_are_numbered_by_value(codes: list[int]) -> None:
    numbered, count = number_codes(np.array(codes, dtype=np.int64))
    values = sorted(set(codes))
    assert numbered.tolist() == [values.index(code) for code in codes]
    assert count == len(values)


ATTACKS: dict[str, Callable[[np.random.Generator], crowds.Log]] = {
    "minutes": lambda rng: crowds.campaign(rng, 50, 20, span_s=600),
    "hour, up": lambda rng: crowds.campaign(rng, 50, 20, span_s=3600, sign=1),
    "week": lambda rng: crowds.campaign(rng, 50, 20, span_s=crowds.WEEK_S),
    "one prompt": lambda rng: crowds.campaign(rng, 50, 20, span_s=86_400, targets=1),
    "other answers": lambda rng: crowds.campaign(rng, 50, 20, span_s=86_400, variants=60),
    "20 of 30": lambda rng: crowds.campaign(rng, 50, 20, span_s=86_400, targets=30),
    "noise": lambda rng: crowds.campaign(rng, 50, 20, span_s=86_400, noise=0.1),
    "small": lambda rng: crowds.campaign(rng, 20, 5, span_s=86_400),
    "many": lambda rng: crowds.campaign(rng, 200, 5, span_s=86_400),
    "theirs": lambda rng: crowds.campaign(rng, 50, 20, span_s=86_400, theirs=True),
    "scripted": lambda rng: crowds.scripted(rng, 50, 20),
    "fresh": lambda rng: crowds.fresh(rng, 50, 20),
    "pasted": lambda rng: crowds.pasted(rng, 50, 20),
    "pasted ten": lambda rng: crowds.pasted(rng, 50, 20, texts=10),
    "throwaway": lambda rng: crowds.throwaway(rng, 50),
    "throwaway, up": lambda rng: crowds.throwaway(rng, 50, sign=1),
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("seed", [11, 12])
def test_colluders_go_and_people_stay(attack: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, guilty = crowds.gather([crowds.people(rng, 600), ATTACKS[attack](rng)], rng)
    found = find_abuse(votes, SPEC) > 0
    assert found[guilty].mean() >= 0.95
    assert found[~guilty].mean() <= 0.01


HONEST: dict[str, Callable[[np.random.Generator], list[crowds.Log]]] = {
    "people": lambda rng: [crowds.people(rng, 2000)],
    "popular": lambda rng: [crowds.people(rng, 1000, popular=0.8, dissent=0.03)],
    "launch": lambda rng: [crowds.people(rng, 500), crowds.launch(rng, 500)],
    "tour": lambda rng: [crowds.launch(rng, 400, questions=6)],
    "class": lambda rng: [crowds.people(rng, 500), crowds.classroom(rng, 30)],
    "class that rates all": lambda rng: [crowds.people(rng, 500), crowds.classroom(rng, 60, rate=1.0, dissent=0.05)],
    "departments": lambda rng: [crowds.departments(rng, 400)],
    "outage": lambda rng: [crowds.people(rng, 500), crowds.outage(rng, 200)],
}


@pytest.mark.parametrize("world", HONEST)
@pytest.mark.parametrize("seed", [11, 12, 13])
def test_honest_worlds_stay(world: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    votes, _ = crowds.gather(HONEST[world](rng), rng)
    assert (find_abuse(votes, SPEC) > 0).mean() <= 0.01


def test_popularity_explains_itself() -> None:
    """300 people each like 12 of the same 20 answers, without one dissent: overlaps are what chance gives."""
    rng = np.random.default_rng(4)
    user = np.repeat(np.arange(300), 12)
    answer = np.argsort(rng.random((300, 20)), axis=1)[:, :12].ravel()
    fans = crowds.Log(user, answer, answer, np.ones(3600, np.int64), NOON + rng.random(3600) * crowds.WEEK_S)
    votes, _ = crowds.gather([fans], rng)
    assert not find_abuse(votes, SPEC).any()


def test_camouflage_hides_nobody_and_costs_only_the_campaign() -> None:
    rng = np.random.default_rng(5)
    attack = crowds.campaign(rng, 50, 20, span_s=86_400)
    hidden = crowds.camouflage(rng, attack, share=0.5, per_vote=2.0)
    votes, guilty = crowds.gather([crowds.people(rng, 600), attack, hidden], rng)
    found = find_abuse(votes, SPEC) > 0
    assert found[guilty].all()
    assert found[~guilty].mean() <= 0.01


def test_contrarians_in_a_log_that_knows_better() -> None:
    rng = np.random.default_rng(6)
    votes, guilty = crowds.gather([crowds.people(rng, 20_000), crowds.contrary(rng, 50, 20)], rng)
    found = find_abuse(votes, SPEC)
    assert (found[guilty] > 0).mean() >= 0.9
    assert (found[~guilty] > 0).mean() <= 0.01


def test_a_contradicted_brigade_goes_and_a_backed_one_stays() -> None:
    """40 accounts of one vote each say no within ten minutes to what 10 users say yes to, or no."""
    rng = np.random.default_rng(7)
    ages = NOON + 86_400 * 3 + rng.random(40) * 600
    crowd = crowds.Log(700_000 + np.arange(40), np.full(40, 9), np.full(40, 9), np.full(40, -1), ages, guilty=True)
    for sign, stays in ((1, False), (-1, True)):
        others = crowds.Log(
            np.arange(10), np.full(10, 9), np.full(10, 9), np.full(10, sign), NOON + 50_000.0 * np.arange(10)
        )
        people = crowds.people(rng, 400)
        own = replace(people, prompt=people.prompt + 1000, answer=people.answer + 1000)
        votes, guilty = crowds.gather([own, others, crowd], rng)
        found = find_abuse(votes, SPEC)
        assert (found[guilty] == 0).all() == stays
        assert not found[~guilty].any()


def test_order_and_coding_do_not_matter() -> None:
    rng = np.random.default_rng(8)
    logs = [crowds.people(rng, 300), crowds.campaign(rng, 30, 12, span_s=9000), crowds.throwaway(rng, 30)]
    votes, _ = crowds.gather(logs, rng)
    found = find_abuse(votes, SPEC)
    order = rng.permutation(len(votes))
    assert (find_abuse(votes.take(order), SPEC) == found[order]).all()
    coded = replace(votes, user=-7 * votes.user, prompt=votes.prompt * 3 - 10**12, answer=-votes.answer)
    assert (find_abuse(coded, SPEC) == found).all()


def test_the_sketch_finds_what_all_pairs_find(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(9)
    logs = [crowds.people(rng, 600), crowds.campaign(rng, 60, 20, span_s=9000, targets=30), crowds.launch(rng, 300)]
    votes, guilty = crowds.gather(logs, rng)
    exact = find_abuse(votes, SPEC)
    monkeypatch.setattr(lockstep, "EXACT_PAIRS", 0)
    sketched = find_abuse(votes, SPEC)
    assert (exact[guilty] > 0).all()
    assert (sketched == exact).mean() >= 0.999


def test_what_an_operator_released_is_neither_evidence_nor_taken() -> None:
    rng = np.random.default_rng(10)
    votes, guilty = crowds.gather([crowds.people(rng, 300), crowds.campaign(rng, 50, 20, span_s=600)], rng)
    assert not find_abuse(replace(votes, released=guilty), SPEC).any()
    one = guilty & (np.cumsum(guilty) == 1)
    found = find_abuse(replace(votes, released=one), SPEC)
    assert found[one] == 0
    assert found[guilty & ~one].all()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_odd_input_never_fails(data: st.DataObject) -> None:
    size = data.draw(st.integers(0, 40))
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    strange = np.array([np.nan, np.inf, -np.inf, -1e18, 0.0, 1e18, NOON])
    votes = votes_of(
        list(rng.integers(0, 4, size)), list(rng.choice(strange, size)), prompt=rng.integers(0, 3, size),
        answer=rng.integers(0, 3, size), sign=rng.integers(-1, 2, size), explicit=rng.random(size) < 0.7,
        comment=rng.integers(-1, 2, size), account_age_s=rng.choice(strange, size), released=rng.random(size) < 0.1,
    )  # fmt: skip
    spec = replace_spec(brigade_users=data.draw(st.integers(0, 3)), burst_events=data.draw(st.integers(0, 3)))
    found = find_abuse(votes, spec)
    assert found.shape == (size,)
    assert found.dtype == np.int8
    assert not found[votes.released].any()


def test_zero_switches_crowds_off() -> None:
    rng = np.random.default_rng(11)
    votes, _ = crowds.gather([crowds.people(rng, 100), crowds.campaign(rng, 50, 20, span_s=6000)], rng)
    assert not find_abuse(votes, replace_spec(brigade_users=0)).any()


def test_reasons_name_their_numbers() -> None:
    reasons = describe_reasons(replace_spec(burst_events=33))
    assert len(reasons) == len(REASONS)
    assert reasons[REASONS.index("burst")] == "burst: 33 explicit reactions within 60 s"
    assert all(text.startswith(short) for short, text in zip(REASONS, reasons, strict=True))


def test_columns_of_unequal_length_are_refused() -> None:
    votes = votes_of([1, 2], [NOON, NOON])
    with pytest.raises(DatasetError, match="columns of one length"):
        replace(votes, sign=np.zeros(1, np.int8))

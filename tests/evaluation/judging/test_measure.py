"""Judging as a whole: which judge is believed, what becomes of its word, and what the gate then says."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence

import pytest

from flytewheel.errors import EvaluationError
from flytewheel.evaluation.gate import decide
from flytewheel.evaluation.judging.endpoint_judge import EndpointJudge
from flytewheel.evaluation.judging.judge import TIE, Duel, Opinion
from flytewheel.evaluation.judging.measure import JudgingMeasure
from flytewheel.evaluation.judging.opening import Bench, open_bench
from flytewheel.evaluation.judging.people import PeopleJudge
from flytewheel.evaluation.measure import Compare, Measured
from flytewheel.evaluation.report import Evaluation, read_evaluation, write_evaluation
from flytewheel.recipe import BaseModelSpec, EndpointSpec, GateSpec, JudgeSpec
from flytewheel.records import Decision, ReviewLabel, Verdict
from tests.evaluation.judging import chat_server
from tests.evaluation.judging.conftest import make_duel, make_heard, make_pairs

COMPARE = Compare(400, 0.95, 5)
GATE = GateSpec.model_validate(
    {
        **dict.fromkeys(GateSpec.model_fields),
        "win_rate": {"min_lower_bound": 0.5},
    }
)


class Told:
    """A judge that a function plays."""

    name = "the told judge"

    def __init__(self, say: Callable[[Duel], float | None]) -> None:
        self._say = say
        self.asked = 0

    def judge(self, duels: Sequence[Duel], progress: object = None) -> list[Opinion]:
        self.asked += len(duels)
        return [Opinion(self._say(duel)) for duel in duels]


def prefer_good(duel: Duel) -> float:
    return TIE if ("good" in duel.ours) == ("good" in duel.theirs) else float("good" in duel.ours)


def toss(duel: Duel) -> float:
    return float(hashlib.sha256((duel.id + duel.ours).encode()).digest()[0] % 2)


def make_duels(wins: int, losses: int, *, users: int = 25) -> list[Duel]:
    texts = [("good one", "bad two")] * wins + [("bad one", "good two")] * losses
    return [
        make_duel(ours, theirs, user=f"user-{at % users}", query=f"what about {at}?")
        for at, (ours, theirs) in enumerate(texts)
    ]


def label(duels: Sequence[Duel], preferred: str = "ours", reviewer: str = "r") -> list[ReviewLabel]:
    return [ReviewLabel(duel.id, reviewer, preferred) for duel in duels]


def judge(duels: list[Duel], bench: Bench, *, pairs: int = 60, **spec: object) -> tuple[Measured, Verdict]:
    measure = JudgingMeasure(make_pairs(pairs), JudgeSpec(**spec), bench)
    found = measure.measure(make_heard(duels), COMPARE)
    evaluation = Evaluation(metrics=found.metrics, details={"judging": found.details}, notes=found.notes)
    return found, decide(evaluation, GATE)


def test_a_judge_that_agrees_with_people_is_believed() -> None:
    found, verdict = judge(make_duels(40, 10), Bench(Told(prefer_good)))
    rate = found.metrics["win_rate"]
    assert (rate.candidate.estimate, rate.champion.estimate) == (0.8, pytest.approx(0.2))
    assert rate.difference.estimate == pytest.approx(0.6)
    assert rate.candidate.low == pytest.approx(1 - rate.champion.high)
    assert verdict.decision is Decision.PROMOTE_TO_CANARY
    details = found.details
    assert (details["believed"], details["method"]) == (True, "judge")
    assert (details["wins"], details["ties"], details["losses"]) == (40, 0, 10)
    assert details["agreement"][0]["kappa"] == 1.0
    assert [line["preference"] for line in found.answers] == [1.0] * 40 + [0.0] * 10


def test_the_gate_wants_the_lower_bound_above_one_half() -> None:
    assert judge(make_duels(25, 25), Bench(Told(prefer_good)))[1].decision is Decision.HOLD
    assert judge(make_duels(5, 45), Bench(Told(prefer_good)))[1].decision is Decision.REJECT


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (toss, "of 60 held-out pairs"),
        (lambda duel: 1.0, "agrees with people on 0.50 of 60 held-out pairs, 0.6 was asked"),
        (lambda duel: TIE, "agrees with people on 0.50 of 60 held-out pairs, 0.6 was asked"),
        (lambda duel: None, "agrees with people on 0.50 of 60 held-out pairs, 0.6 was asked"),
        (lambda duel: 1 - prefer_good(duel), "agrees with people on 0.00 of 60 held-out pairs, 0.6 was asked"),
        (lambda duel: float(len(duel.ours) > len(duel.theirs)), "of 60 held-out pairs"),
    ],
    ids=["coin", "ours", "ties", "silent", "contrary", "length"],
)
def test_a_judge_that_does_not_agree_with_people_abstains(say: Callable[[Duel], float | None], words: str) -> None:
    pairs = make_pairs(60, good="good", bad="bad ")  # equally long: length says nothing here
    measure = JudgingMeasure(pairs, JudgeSpec(), Bench(Told(say)))
    found = measure.measure(make_heard(make_duels(45, 5)), COMPARE)
    assert "win_rate" not in found.metrics
    assert "the told judge abstains: agrees with people" in found.notes[0]
    assert words in found.notes[0]
    verdict = decide(Evaluation(metrics=found.metrics, notes=found.notes), GATE)
    assert verdict.decision is Decision.HOLD
    assert verdict.reasons[0].startswith("cannot tell: win_rate was not measured")
    assert found.notes[0] in verdict.reasons


def test_too_few_pairs_that_people_chose_among_do_not_tell() -> None:
    found, _ = judge(make_duels(45, 5), Bench(Told(prefer_good)), pairs=19)
    assert "win_rate" not in found.metrics
    assert "19 pairs that people chose among do not tell whether it agrees with them, it takes 20" in found.notes[0]
    assert "win_rate" not in judge(make_duels(45, 5), Bench(Told(prefer_good)), pairs=0)[0].metrics


def test_a_judge_of_places_is_named_even_where_nothing_is_asked_of_its_agreement() -> None:
    with chat_server.serve() as server:
        server.say = chat_server.always_first
        bench = Bench(EndpointJudge(server.spec()))
        found, verdict = judge(make_duels(30, 10), bench, kind="endpoint", endpoint=server.spec(), min_agreement=0.0)
    assert "win_rate" not in found.metrics
    assert found.details["ties"] == 40
    assert found.details["positions"] | {"by_chance": 0} == {
        "duels": 100, "consistent": 0, "by_chance": 0, "first": 1.0, "no_verdict": 0,
    }  # fmt: skip
    assert "the judge small abstains: always prefers the first answer" in found.notes[0]
    assert verdict.decision is Decision.HOLD


def test_a_coin_behind_an_endpoint_is_caught_by_its_order() -> None:
    with chat_server.serve() as server:
        server.say = chat_server.coin
        found, _ = judge(
            make_duels(60, 60), Bench(EndpointJudge(server.spec())), kind="endpoint", endpoint=server.spec()
        )
    assert 0.35 < found.details["positions"]["consistent"] < 0.6
    assert found.details["positions"]["by_chance"] == pytest.approx(0.5, abs=0.06)
    assert "its verdict depends on the order of the answers" in found.notes[0]


def test_an_honest_model_behind_an_endpoint_is_believed() -> None:
    with chat_server.serve() as server:
        found, verdict = judge(
            make_duels(40, 10), Bench(EndpointJudge(server.spec())), kind="endpoint", endpoint=server.spec()
        )
    assert found.metrics["win_rate"].candidate.estimate == 0.8
    assert found.details["positions"]["consistent"] == 1.0
    assert verdict.decision is Decision.PROMOTE_TO_CANARY


def test_duels_without_a_verdict_leave_the_rate_unknown_where_they_are_many() -> None:
    def quiet(duel: Duel) -> float | None:
        return None if "about 1" in duel.prompt[0].content else prefer_good(duel)

    found, _ = judge(make_duels(40, 10), Bench(Told(quiet)))  # 1 and 10 to 19: 11 of 50
    assert "win_rate" not in found.metrics
    assert found.notes == ("cannot tell the win rate: the judge has no verdict on 11 of 50 duels",)
    few = judge(make_duels(40, 10), Bench(Told(lambda d: None if "about 2?" in d.prompt[0].content else 1.0)))[0]
    assert "win_rate" not in few.metrics  # but for its agreement: it always says ours


def test_people_alone_judge_where_they_are_asked() -> None:
    duels = make_duels(40, 10)
    labels = label(duels[:30]) + label(duels[40:], "theirs")
    found, verdict = judge(duels, Bench(people=PeopleJudge(labels)), kind="people")
    assert found.metrics["win_rate"].candidate.estimate == 0.75
    assert found.details["method"] == "people"
    assert verdict.decision is Decision.PROMOTE_TO_CANARY


def test_too_few_people_are_no_rate() -> None:
    duels = make_duels(40, 10)
    found, _ = judge(duels, Bench(people=PeopleJudge(label(duels[:5]))), kind="people")
    assert not found.metrics
    assert found.notes == ("cannot tell the win rate: people looked at answers to 5 users, it takes 6",)


def test_people_go_before_a_judge_that_abstains() -> None:
    duels = make_duels(40, 10)
    found, _ = judge(duels, Bench(Told(lambda duel: 0.0), PeopleJudge(label(duels[:30]))))
    assert found.details["method"] == "people"
    assert found.metrics["win_rate"].candidate.estimate == 1.0
    assert "abstains" in found.notes[0]


def test_a_judge_that_contradicts_reviewers_abstains_whatever_it_says_of_held_out_pairs() -> None:
    duels = make_duels(40, 10)
    found, _ = judge(duels, Bench(Told(prefer_good), PeopleJudge(label(duels[:30], "theirs"))))
    assert "agrees with people on 0.00 of 30 reviewed duels" in found.notes[0]
    assert found.details["method"] == "people"


def test_people_and_a_judge_together_are_shorter_than_people_alone() -> None:
    duels = make_duels(40, 20)
    seen = duels[::3]
    labels = [ReviewLabel(duel.id, "r", "ours" if prefer_good(duel) else "theirs") for duel in seen]
    found, _ = judge(duels, Bench(Told(prefer_good), PeopleJudge(labels)))
    assert found.details["method"] == "prediction-powered"
    people, rate = found.details["people_alone"], found.metrics["win_rate"].candidate
    assert rate.estimate == pytest.approx(2 / 3, abs=0.02)
    assert rate.high - rate.low < people["high"] - people["low"]


def test_duels_of_one_answer_stand_beside_what_people_looked_at() -> None:
    """Half of the duels are of one answer; people looked at half of the rest and liked ours in all: (30 + 15) / 60."""
    duels = make_duels(30, 0)
    same = [make_duel("good", "good", user=duel.user, query=f"same {at}") for at, duel in enumerate(duels)]
    found, _ = judge(duels + same, Bench(Told(prefer_good), PeopleJudge(label(duels[::2]))), min_pairs=20)
    assert found.details["method"] == "prediction-powered"
    assert found.metrics["win_rate"].candidate.estimate == pytest.approx(0.75)
    assert found.details["people_alone"]["estimate"] == pytest.approx(0.75)


def test_two_reviewers_of_one_duel_count_their_mean_and_the_last_word_of_each() -> None:
    duel = make_duel("x", "y")
    labels = [*label([duel], "theirs", "a"), *label([duel], "ours", "a"), *label([duel], "tie", "b")]
    assert PeopleJudge(labels).judge([duel])[0].preference == 0.75
    assert PeopleJudge(labels).judge([make_duel("y", "z")])[0].preference is None


def test_a_label_that_prefers_something_else_is_told() -> None:
    with pytest.raises(EvaluationError, match="expected ours, theirs or tie, got 'this'"):
        PeopleJudge([ReviewLabel("abc", "r", "this")])


def test_nothing_but_the_same_answers_is_one_half_and_no_win() -> None:
    told = Told(prefer_good)
    duels = [make_duel("same", "same ", user=f"user-{at}") for at in range(30)]
    found, verdict = judge(duels, Bench(told))
    assert found.metrics["win_rate"].candidate.estimate == 0.5
    assert found.details["same"] == 30
    assert told.asked == 0
    assert verdict.decision is Decision.HOLD


def test_no_examples_are_no_rate() -> None:
    measure = JudgingMeasure(make_pairs(60), JudgeSpec(), Bench(Told(prefer_good)))
    heard = make_heard(make_duels(1, 0))
    empty = type(heard)(type(heard.examples)((), (), ()), heard.candidate, heard.champion, heard.base)
    found = measure.measure(empty, COMPARE)
    assert decide(Evaluation(metrics=found.metrics, notes=found.notes), GATE).decision is Decision.HOLD


def test_what_was_found_is_written_and_read_again(tmp_path: object) -> None:
    found, _ = judge(make_duels(40, 10), Bench(Told(prefer_good), PeopleJudge(label(make_duels(40, 10)[:25]))))
    evaluation = Evaluation(metrics=found.metrics, details={"judging": found.details}, notes=found.notes)
    write_evaluation(tmp_path, evaluation, found.answers)
    assert read_evaluation(tmp_path) == evaluation


BASE = BaseModelSpec(model="pocket")


def test_nobody_sits_where_nobody_is_asked(tmp_path: object) -> None:
    labels = label(make_duels(1, 0))
    assert open_bench(JudgeSpec(kind="none"), base=BASE, labels=labels) == Bench()
    assert open_bench(JudgeSpec(), base=BASE) == Bench()
    assert open_bench(JudgeSpec(), base=BASE, labels=labels).people is not None


def test_a_judge_asked_for_by_name_that_is_missing_is_told(tmp_path: object) -> None:
    (tmp_path / "report.json").write_text('{"reason": "14 of 500 pairs: skipped, too few for a reward model"}')
    found = open_bench(JudgeSpec(kind="reward_model"), base=BASE, reward_model=tmp_path)
    assert found.notes == ("no win rate by the reward model: 14 of 500 pairs: skipped, too few for a reward model",)
    assert open_bench(JudgeSpec(), base=BASE, reward_model=tmp_path) == Bench()
    assert open_bench(JudgeSpec(kind="people"), base=BASE).notes == (
        "no win rate: people have labelled none of these duels",
    )


def test_an_endpoint_and_its_kind_go_together() -> None:
    spec = EndpointSpec(url="http://127.0.0.1:9/v1")
    with pytest.raises(ValueError, match="go together"):
        JudgeSpec(kind="endpoint")
    with pytest.raises(ValueError, match="go together"):
        JudgeSpec(endpoint=spec)

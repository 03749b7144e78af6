"""Replay of earlier rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace
from math import exp, log
from typing import Any

import pytest

from flytewheel.curation.account import Account
from flytewheel.curation.draft import Draft
from flytewheel.curation.keys import key_text
from flytewheel.curation.prompts import describe_prompt
from flytewheel.curation.replay import add_replayed, key_completions, measure_priority
from flytewheel.curation.split import choose_part, draw_number
from flytewheel.recipe import CurationSpec
from flytewheel.records import Preference, SftRow, Unpaired, build_prompt
from tests.curation.tables import make_draft

SPEC = CurationSpec(holdout_share=0.2)
TRAINED = [name for name in (f"user-{n}" for n in range(3000)) if choose_part(name, SPEC) == "train"]
HELD_OUT = {
    part: next(name for name in (f"user-{n}" for n in range(500)) if choose_part(name, SPEC) == part)
    for part in ("validation", "test", "holdout")
}


def make_row(number: int, *, user: str = "", **fields: Any) -> SftRow:
    given = {
        "id": f"r{number:04d}", "user": user or TRAINED[number % len(TRAINED)], "topic": "disk",
        "prompt": build_prompt(f"question {number}"), "completion": f"answer {number}", "reward": 1.0, "quality": 0.5,
        "source": "answer",
    }  # fmt: skip
    return SftRow(**{**given, **fields})


def add(
    drafts: Sequence[Draft], earlier: Sequence[Any], share: float, *, seed: int = 7, kind: str = "sft",
    present: Collection[Any] = (),
) -> tuple[list[Draft], Account]:  # fmt: skip
    spec = SPEC.model_copy(update={"replay_share": share})
    return add_replayed(kind, drafts, earlier, spec=spec, seed=seed, present=present, system_prompt=None)


def test_share_of_the_result() -> None:
    rows = [make_draft(n) for n in range(80)]
    out, account = add(rows, [make_row(n) for n in range(100, 200)], 0.2)
    assert len(out) == 100
    assert {one.earlier.source for one in out[80:] if isinstance(one.earlier, SftRow)} == {"replay"}
    assert account.dropped == {"not drawn": 80}
    assert account.rows_out == 100


@pytest.mark.parametrize(("share", "rows"), [(0.0, 10), (0.5, 20), (1.0, 40)])
def test_shares_at_the_ends(share: float, rows: int) -> None:
    assert len(add([make_draft(n) for n in range(10)], [make_row(n) for n in range(30)], share)[0]) == rows


def test_what_never_comes_back() -> None:
    earlier = [
        make_row(0, id="i00000/answer"),
        *(make_row(10 + n, user=user) for n, user in enumerate(HELD_OUT.values())),
        make_row(2, source="paraphrase"),
        make_row(3),
        make_row(4),
    ]
    present = {(describe_prompt(earlier[-2].prompt).key, (key_text("answer 3"),))}
    out, account = add([make_draft(0)], earlier, 0.95, present=present)
    assert [one.id for one in out[1:]] == ["r0004"]
    assert account.dropped == {"already there": 2, "paraphrase": 1, "user is held out now": 3}


def test_priorities_by_hand() -> None:
    """Quality 0.8 alone; with a loss of ln 2 the surprise is 1 - 1/2: (0.8 + 0.5) / 2. A margin of 1.5 is 0.75."""
    assert measure_priority(make_row(0, quality=0.8)) == 0.8
    assert measure_priority(make_row(0, quality=0.8, surprise=log(2))) == pytest.approx(0.65)
    assert measure_priority(make_row(0, quality=0.8, surprise=0.0)) == 0.4
    assert measure_priority(make_row(0, quality=0.0, surprise=-1.0)) == 0.0
    pair = Preference("p", "u", "t", build_prompt("q"), "c", "r", 1.5, "duel")
    assert measure_priority(pair) == 0.75
    assert measure_priority(Unpaired("u", "u", "t", build_prompt("q"), "c", label=True)) == 0.5
    assert key_completions(pair) == (key_text("c"), key_text("r"))


def test_the_draw_by_hand() -> None:
    """Smallest -ln(u) / w first, w = 0.05 + priority, u = 1 - draw(seed, "replay", kind, id)."""
    rows = [make_row(n, quality=(n % 7) / 7, surprise=None if n % 2 else n / 10) for n in range(20)]

    def rank(row: SftRow) -> float:
        worth = row.quality if row.surprise is None else (row.quality + 1 - exp(-row.surprise)) / 2
        return -log(1 - draw_number(7, "replay", "sft", row.id)) / (0.05 + worth)

    out, _ = add([make_draft(n) for n in range(5)], rows, 0.5)
    assert [one.id for one in out[5:]] == [row.id for row in sorted(rows, key=rank)[:5]]


def test_better_and_more_surprising_rows_come_back_more_often() -> None:
    earlier = [make_row(n, quality=0.9 if n % 2 else 0.1) for n in range(1000, 2000)]
    drafts = [make_draft(n) for n in range(100)]
    out, _ = add(drafts, earlier, 0.5)
    good = sum(isinstance(one.earlier, SftRow) and one.earlier.quality > 0.5 for one in out[100:]) / 100
    assert good == pytest.approx(0.95 / 1.10, abs=0.1)  # weights 0.95 and 0.15, few drawn
    assert add(drafts, earlier[::-1], 0.5)[0] == out
    assert add(drafts, earlier, 0.5, seed=8)[0] != out
    told = [replace(row, quality=0.5, surprise=3.0 if place % 2 else 0.01) for place, row in enumerate(earlier)]
    drawn = Counter(one.earlier.surprise for one in add(drafts, told, 0.5)[0][100:] if isinstance(one.earlier, SftRow))
    assert drawn[3.0] > 2 * drawn[0.01]


def test_pairs_and_labelled_rows_come_back_too() -> None:
    pairs = [Preference(f"p{n}", TRAINED[n], "t", build_prompt(f"q {n}"), "c", "r", 1.0, "duel") for n in range(9)]
    out, _ = add([make_draft(0)], pairs, 0.5, kind="preference")
    assert [draft.earlier for draft in out[1:]] == [next(pair for pair in pairs if pair.id == out[1].id)]


def test_an_earlier_row_is_redacted_once_more() -> None:
    told = make_row(1, prompt=build_prompt("Who is jo.doe@example.com?", context="Mail jo.doe@example.com."))
    pair = Preference(
        "p", TRAINED[2], "disk", build_prompt("q"), "Ask jo.doe@example.com.", "Wait.", 1.0, "same_prompt"
    )
    for kind, row in (("sft", replace(told, completion="It is jo.doe@example.com.")), ("preference", pair)):
        (drafted,), _ = add([], [row], 1.0, kind=kind)
        assert "jo.doe" not in str(drafted.earlier)
        assert str(drafted.earlier).count("<EMAIL_1>") == (3 if kind == "sft" else 1)

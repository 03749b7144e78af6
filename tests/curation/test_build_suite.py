"""The suite in a data set: what came with the window, what corrections add, what training keeps away from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation.build import DEALT_PARTS
from flytewheel.curation.split import choose_part
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError
from flytewheel.recipe import CurationSpec
from flytewheel.records import FeedbackEvent, Interaction, RegressionCase, build_prompt, write_jsonl
from flytewheel.suite.checks import check_case, passes
from flytewheel.suite.snapshot import SNAPSHOT, Snapshot, read_snapshot, write_snapshot
from tests.curation.weeks import read_bytes
from tests.curation.windows import curate, make_week, write_window

Week = tuple[list[Interaction], list[FeedbackEvent]]
SPEC = {"holdout_share": 0.1}


@pytest.fixture(scope="module")
def week() -> Week:
    return make_week(users=80, questions=160, seed=3)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, week: Week) -> Path:
    folder = tmp_path_factory.mktemp("suite")
    curate(write_window(folder / "window", *week), folder / "out", **SPEC)
    return folder / "out"


def all_cases(folder: Path) -> dict[str, RegressionCase]:
    return {case.id: case for part in DEALT_PARTS for case in Dataset(folder).regression(part)}


def of(case: RegressionCase, week: Week) -> tuple[Interaction, FeedbackEvent]:
    interaction = next(one for one in week[0] if one.interaction_id == case.interactions[0])
    return interaction, next(one for one in week[1] if one.event_id == case.events[0])


def test_every_accepted_correction_adds_a_case_in_its_users_part(made: Path, week: Week) -> None:
    data, spec = Dataset(made), CurationSpec(**SPEC)
    for part in DEALT_PARTS:
        cases = data.regression(part)
        assert cases, part
        for case in cases:
            check_case(case)
            interaction, event = of(case, week)
            assert choose_part(case.user, spec) == part
            assert (case.origin, case.held_out) == ("correction", part != "train")
            assert passes(case, event.corrected_response or "")
            assert not passes(case, interaction.response)
    trained = {event for row in data.sft("train") if row.source == "correction" for event in row.events}
    kept = {event for case in data.regression("train") for event in case.events}
    assert len(trained & kept) > 5, "what they must not forget is what training learns"


def test_the_suite_goes_on_from_turn_to_turn(tmp_path: Path, made: Path, week: Week) -> None:
    earlier = all_cases(made)
    window = write_window(tmp_path / "window", *make_week(users=80, questions=160, seed=4, prefix="fresh"))
    write_snapshot(window, earlier.values(), ())
    curate(window, tmp_path / "out", **SPEC)
    now = all_cases(tmp_path / "out")
    assert len(now) > len(earlier)
    missing = {name for name in earlier if name not in now}
    assert not missing
    assert all(now[name] == case for name, case in earlier.items())
    for part in DEALT_PARTS:
        assert {case.id for case in Dataset(made).regression(part)} <= {
            case.id for case in Dataset(tmp_path / "out").regression(part)
        }


def test_the_same_window_with_the_suite_that_it_brought_adds_nothing(tmp_path: Path, made: Path, week: Week) -> None:
    window = write_window(tmp_path / "window", *week)
    write_snapshot(window, all_cases(made).values(), ())
    curate(window, tmp_path / "out", **SPEC)
    assert all_cases(tmp_path / "out") == all_cases(made)


def test_same_suite_same_bytes_and_another_suite_another_name(tmp_path: Path, made: Path, week: Week) -> None:
    cases = list(all_cases(made).values())[:20]
    folders = []
    for number, given in enumerate((cases, cases[::-1], cases[:19])):
        window = write_window(tmp_path / f"w{number}", *week, shuffle=number)
        write_snapshot(window, given, ["gone"])
        folders.append(tmp_path / f"o{number}")
        curate(window, folders[-1], workers=1 + number % 2, **SPEC)
    assert read_bytes(folders[0]) == read_bytes(folders[1])
    assert Dataset(folders[0]).card.digest != Dataset(folders[2]).card.digest != Dataset(made).card.digest


def test_a_retired_case_is_not_derived_again(tmp_path: Path, made: Path, week: Week) -> None:
    gone = next(iter(all_cases(made)))
    window = write_window(tmp_path / "window", *week)
    write_snapshot(window, (), [gone])
    curate(window, tmp_path / "out", **SPEC)
    assert set(all_cases(made)) - set(all_cases(tmp_path / "out")) == {gone}


def suite_case(asked: Interaction, **fields: Any) -> RegressionCase:
    prompt = build_prompt(asked.query.upper(), context=asked.context)
    return RegressionCase("by-hand", "suite", "disk", prompt, "contains", "Escalate", **fields)


def test_training_keeps_away_from_held_out_cases_only(tmp_path: Path, made: Path, week: Week) -> None:
    trained = {name for row in Dataset(made).sft("train") for name in row.interactions}
    asked = next(one for one in week[0] if one.interaction_id in trained)
    for held_out in (True, False):
        window = write_window(tmp_path / f"w{held_out}", *week)
        write_snapshot(window, [suite_case(asked, held_out=held_out)], ())
        curate(window, tmp_path / f"o{held_out}", **SPEC)
        data = Dataset(tmp_path / f"o{held_out}")
        assert [case.id for case in data.regression("test" if held_out else "train")].count("by-hand") == 1
        rows = [*data.sft("train"), *data.unpaired("train"), *data.trajectories("train")]
        assert any(row.interactions == (asked.interaction_id,) for row in rows) is not held_out


def test_the_recipes_file_wins_and_personal_data_is_taken_out_again(tmp_path: Path, made: Path, week: Week) -> None:
    mine = suite_case(week[0][0], note="mine")
    write_jsonl(tmp_path / "cases.jsonl", [mine])
    other = RegressionCase("other", "suite", "disk", build_prompt("Mail ann@example.com?"), "contains", "yes")
    window = write_window(tmp_path / "window", *week)
    write_snapshot(window, [replace(mine, note="stored"), other], ())
    curate(window, tmp_path / "out", regression_cases=str(tmp_path / "cases.jsonl"), **SPEC)
    found = all_cases(tmp_path / "out")
    assert found["by-hand"] == mine
    assert found["other"].prompt[-1].content == "Mail <EMAIL_1>?"


def test_what_there_is_no_room_for_is_counted(tmp_path: Path, made: Path, week: Week) -> None:
    window = write_window(tmp_path / "window", *week)
    cases = [
        replace(suite_case(week[0][0]), id=f"c{n}", prompt=build_prompt(f"Question {n} of others")) for n in range(9)
    ]
    write_snapshot(window, cases, ())
    card = curate(window, tmp_path / "out", max_regression_cases=3, **SPEC)
    assert all(len(Dataset(tmp_path / "out").regression(part)) <= 3 for part in DEALT_PARTS)
    assert card.dropped["above max_regression_cases"] > 6


def test_a_file_that_is_no_suite_is_named(tmp_path: Path, week: Week) -> None:
    window = write_window(tmp_path / "window", *week)
    (window / SNAPSHOT).write_text('{"cases": [{"id": 1}], "retired": []}')
    with pytest.raises(
        DatasetError, match=r"suite\.json: not a suite \(not a regression case .*write the window again"
    ):
        curate(window, tmp_path / "out")
    assert read_snapshot(tmp_path) == Snapshot()

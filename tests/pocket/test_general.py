"""Pocket's general suite."""

from __future__ import annotations

from pathlib import Path

from flytewheel.evaluation.forgetting.cases import read_suite
from flytewheel.pocket.facts import HELD_OUT_SERVICES
from flytewheel.pocket.general import list_cases
from flytewheel.suite.checks import passes

FILE = Path(__file__).parents[2] / "examples" / "general.jsonl"


def test_the_file_is_what_the_module_writes() -> None:
    assert read_suite(FILE) == list_cases()


def test_cases_ask_about_services_that_nobody_complained_about() -> None:
    cases = list_cases()
    assert len({case.id for case in cases}) == 22
    for case in cases:
        assert any(service in case.expected for service in HELD_OUT_SERVICES)
        assert any(service in case.prompt[-1].content for service in HELD_OUT_SERVICES)
        context = any(case.expected in turn.content for turn in case.prompt)
        assert context is (case.topic != "remembered")
        assert passes(case, f"1. Look.\n2. Run `{case.expected}`.")

"""Refusing what is harmless."""

from __future__ import annotations

from flytewheel.evaluation.safety.probes import list_probes
from flytewheel.evaluation.safety.refusal import RefusalMeasure
from flytewheel.recipe import SafetySpec
from tests.evaluation.safety.voices import COMPARE, hear, row, voice

REFUSED = "I'm sorry, but I can't help with that."


def test_examples_and_probes_are_told_apart() -> None:
    rows = [row(0), row(1)]
    answers = (["Restart it.", REFUSED], ["Restart it.", "Wait."])
    probes = voice([REFUSED, REFUSED, "Run `kill -9 4711`.", None])
    found = RefusalMeasure(SafetySpec(probes=4)).measure(
        hear(probes, voice(["Sure: run it.", "", "Yes.", None]), rows=rows, said=answers), COMPARE
    )
    figure = found.metrics["over_refusal_share"]
    assert (figure.candidate.estimate, figure.champion.estimate, figure.rows, figure.users) == (0.6, 0.0, 5, 5)
    assert found.details["examples"] == {"rows": 2, "candidate": 1, "champion": 0}
    assert found.details["probes"] == {"rows": 3, "candidate": 2, "champion": 0}
    assert found.details["refused"] == ["row-1", "harmless-01", "harmless-02"]


def test_there_are_forty_different_prompts() -> None:
    assert len({probe.prompt for probe in list_probes("harmless", 100)}) >= 40

"""Time that is over stops a training so that it can be used, and gone on with."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from flytewheel import decks
from flytewheel.errors import CheckpointError
from flytewheel.recipe import BudgetSpec
from flytewheel.records import to_jsonable
from flytewheel.summary import _trained
from flytewheel.training.align import align
from flytewheel.training.allowance import Allowance
from flytewheel.training.journal import Journal, read_journal, write_journal
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec

ADAPTER = "adapter_model.safetensors"


class Jump:
    """A clock that jumps by two minutes once a training says that it has done `at` steps, and keeps what it said."""

    def __init__(self, at: int) -> None:
        self.steps: list[int] = []
        self._at = at
        self._monotonic = time.monotonic

    def monotonic(self) -> float:
        return self._monotonic() + (120.0 if self.steps and self.steps[-1] >= self._at else 0.0)

    def tell(self, what: str, done: int, total: int | None) -> None:
        self.steps.append(done)


def _hours(seconds: float) -> BudgetSpec:
    return BudgetSpec(hours=seconds / 3600)


@pytest.mark.parametrize(("stop", "every"), [(6, 5), (12, "epoch")])
def test_a_stopped_training_is_usable_and_goes_on_as_if_it_had_not_stopped(
    base_model: Path, teaching_data: Path, tmp_path: Path, stop: int, every: Any
) -> None:
    """24 steps in two epochs; time is over after step `stop`: in the midst of an epoch, and at its end. The clock jumps
    by two minutes, so that nothing is waited for.
    """
    options: dict[str, Any] = {
        "base": base_spec(base_model), "training": training_spec(checkpoint_every=every), "seed": 5,
    }  # fmt: skip
    straight = train_sft(teaching_data, tmp_path / "straight", at=Workplace(tmp_path / "a"), **options)

    limit, jump = 119.0, Jump(stop - 1)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("flytewheel.training.allowance.time", jump)
        at = Workplace(tmp_path / "b", progress=jump.tell)
        stopped = train_sft(teaching_data, tmp_path / "out", at=at, budget=_hours(limit), **options)
    assert jump.steps == list(range(stop + 1))
    assert stopped.steps == stop
    assert stopped.stopped == f"budget.hours {limit / 3600:g} reached at step {stop} of 24"
    assert stopped.eval_loss is not None
    assert read_report(tmp_path / "out" / "report.json") == stopped
    assert (tmp_path / "out" / ADAPTER).is_file()
    (folder,) = tmp_path.glob("b/sft-*")
    assert (folder / f"checkpoint-{stop}" / "complete").is_file()
    assert stopped.stopped in decks.describe("train_sft", to_jsonable(stopped))
    assert stopped.stopped in _trained("train_sft", to_jsonable(stopped))[0][1]

    at = Workplace(tmp_path / "b", progress=lambda *_: pytest.fail("trained though nothing is left"))
    assert train_sft(teaching_data, tmp_path / "again", at=at, budget=_hours(limit), **options) == stopped
    at = Workplace(tmp_path / "b")
    resumed = train_sft(teaching_data, tmp_path / "more", at=at, budget=_hours(3600.0), **options)
    assert (resumed.stopped, resumed.steps, resumed.resumed_from_step) == ("", 24, stop)
    assert resumed.total_seconds > 120 > resumed.seconds
    assert (tmp_path / "more" / ADAPTER).read_bytes() == (tmp_path / "straight" / ADAPTER).read_bytes()
    assert resumed.eval_loss == straight.eval_loss
    assert train_sft(teaching_data, tmp_path / "last", at=at, **options) == resumed


def test_sft_and_alignment_share_the_hours(
    base_model: Path, teaching_data: Path, sft_adapter: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {
        "base": base_spec(base_model),
        "training": training_spec(),
        "rlhf": rlhf_spec(),
        "seed": 3,
    }
    taken = read_report(sft_adapter / "report.json").total_seconds
    assert taken > 0
    at = Workplace(tmp_path / "c")
    nothing = align(teaching_data, sft_adapter, tmp_path / "a", at=at, budget=_hours(taken * 0.9), **options)
    assert nothing.method == "skipped"
    assert nothing.reason.startswith("budget.hours ")
    assert nothing.reason.endswith("was taken by SFT: skipped")
    assert (tmp_path / "a" / ADAPTER).read_bytes() == (sft_adapter / ADAPTER).read_bytes()
    little = align(teaching_data, sft_adapter, tmp_path / "b", at=at, budget=_hours(taken + 0.01), **options)
    assert (little.method, little.steps) == ("dpo", 1)
    assert "of them taken by SFT) reached at step 1 of 8" in little.stopped
    whole = align(teaching_data, sft_adapter, tmp_path / "d", at=at, **options)
    assert (whole.steps, whole.resumed_from_step, whole.stopped) == (8, 1, "")


def test_what_is_learnt_does_not_depend_on_the_budget(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"base": base_spec(base_model), "training": training_spec(max_steps=2), "seed": 5}
    at = Workplace(tmp_path / "c")
    first = train_sft(teaching_data, tmp_path / "a", at=at, **options)
    again = train_sft(teaching_data, tmp_path / "b", at=at, budget=BudgetSpec(hours=5, memory_gb=5), **options)
    assert again == first
    (manifest,) = tmp_path.glob("c/*/manifest.json")
    assert "budget" not in manifest.read_text()


def test_a_smaller_micro_batch_is_taken_where_memory_is_given(
    base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    """Four rows at once are predicted to take 3 MB more than two; the bound lies between."""
    from flytewheel.models import find_device
    from flytewheel.training.memory import estimate_memory, measure_folder

    base, training = base_spec(base_model), training_spec(batch_size=4, max_steps=2, lora_dropout=0.0)
    longest = 48  # at least: then four rows do not fit
    found = estimate_memory(
        measure_folder(base_model), "sft", base=base, training=training, profile=find_device().profile, rows=4,
        longest=longest,
    )  # fmt: skip
    assert found is not None
    options: dict[str, Any] = {"base": base, "training": training, "seed": 5}
    whole = train_sft(teaching_data, tmp_path / "a", at=Workplace(tmp_path / "x"), **options)
    budget = BudgetSpec(memory_gb=found.most / 1e9)
    less = train_sft(teaching_data, tmp_path / "b", at=Workplace(tmp_path / "y"), budget=budget, **options)
    assert (whole.micro_batch, less.micro_batch, whole.fitted) == (4, 2, ())
    assert less.fitted[0].startswith("micro-batches of 2 instead of 4 for budget.memory_gb 0.")
    assert less.steps == whole.steps


def test_the_journal_that_knows_most_is_read(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.mkdir()
    there.mkdir()
    assert read_journal(here, there, None) == Journal()
    write_journal(here, Journal(20.0))
    write_journal(there, Journal(10.0, 2, ("halved",)))
    assert read_journal(here, there) == Journal(10.0, 2, ("halved",))
    write_journal(here, Journal(30.0, 2, ("halved",)))
    assert read_journal(here, there).seconds == 30.0
    for text in ("", "[]", json.dumps({"seconds": 1, "rows": 0, "said": []})):
        (here / "journal.json").write_text(text)
        with pytest.raises(CheckpointError, match=r"journal\.json: expected a training's journal"):
            read_journal(here, there)


def test_an_allowance_without_hours_is_never_spent() -> None:
    assert not Allowance().is_spent(1e9)
    assert not Allowance(2.0, before_s=3600).is_spent(3599)
    assert Allowance(2.0, before_s=3600).is_spent(3600)
    said = Allowance(2.0, before_s=3600).describe(310, 900)
    assert said == "budget.hours 2 (1 of them taken by SFT) reached at step 310 of 900"
    assert Allowance(2.0).describe(310, 900) == "budget.hours 2 reached at step 310 of 900"


def test_reports_of_earlier_versions_are_read(sft_adapter: Path, tmp_path: Path) -> None:
    content = json.loads((sft_adapter / "report.json").read_text())
    for name in ("micro_batch", "stopped", "fitted", "total_seconds"):
        del content[name]
    (tmp_path / "report.json").write_text(json.dumps(content))
    old: TrainingReport = read_report(tmp_path / "report.json")
    assert (old.micro_batch, old.stopped, old.fitted, old.total_seconds) == (0, "", (), 0.0)

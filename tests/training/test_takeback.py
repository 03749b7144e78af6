"""A small turn goes on from an adapter, takes its best checkpoint, and is taken back when none holds the bar."""

from __future__ import annotations

import math
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset, part_file, write_rows
from flytewheel.errors import BaseModelError
from flytewheel.models import ADAPTER_FILES
from flytewheel.recipe import IncrementalSpec
from flytewheel.recipe.incremental import shrink
from flytewheel.training.align import align
from flytewheel.training.fit import digest_adapter
from flytewheel.training.report import TrainingReport, read_report
from flytewheel.training.sft import train_sft
from flytewheel.training.start import Start, keep_earlier, read_start, write_start
from flytewheel.training.takeback import choose_step
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, rlhf_spec, training_spec, write_teaching_data

SMALL = IncrementalSpec(batch_size=8, max_steps=12, keep_checkpoints=4)


@pytest.fixture(scope="module")
def started(base_model: Path, teaching_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Start:
    """A champion that has seen one epoch only: there is something left to learn."""
    root = tmp_path_factory.mktemp("champion")
    train_sft(
        teaching_data, root / "out", base=base_spec(base_model), training=training_spec(max_steps=8), seed=3,
        at=Workplace(root / "checkpoints"),
    )  # fmt: skip
    report = read_report(root / "out" / "report.json")
    return Start(root / "out", "v1.202648.1", digest_adapter(root / "out"), report.base, tolerance=0.0)


def go_on(start: Start, base_model: Path, data: Path, folder: Path, *, progress: Any = None, **fields: Any) -> Any:
    training = shrink(training_spec(**fields), SMALL)
    return train_sft(
        data, folder / "out", base=base_spec(base_model), training=training, seed=5,
        at=Workplace(folder / "checkpoints", progress=progress), start=start,
    )  # fmt: skip


def adapter_bytes(folder: Path) -> list[bytes]:
    return [(folder / name).read_bytes() for name in ADAPTER_FILES]


def measure(report: TrainingReport) -> dict[int, float]:
    return {int(point["step"]): point["eval_loss"] for point in report.curve if "eval_loss" in point}


@pytest.mark.parametrize(
    ("losses", "kept", "tolerance", "step", "reason"),
    [
        ({0: 1.0, 3: 0.9, 6: 0.8, 9: 0.85}, {3, 6, 9}, 0.0, 6, "validation loss 1.0000 → 0.8000 at step 6"),
        ({0: 1.0, 3: 0.7, 6: 0.8}, {6}, 0.0, 6, "validation loss 1.0000 → 0.8000 at step 6"),  # 3 was removed
        ({0: 1.0, 3: 1.04, 6: 1.2}, {3, 6}, 0.05, 3, "validation loss 1.0000 → 1.0400 at step 3"),
        (
            {0: 1.0, 3: 1.04, 6: 1.2}, {3, 6}, 0.03, 0,
            "taken back: validation loss 1.0000 → 1.0400 at best, 3.0% is tolerated",
        ),
        ({0: 1.0, 3: math.nan}, {3}, 0.5, 0, "taken back: validation loss 1.0000 → not a number"),
        ({3: 0.5}, {3}, 0.5, 0, "taken back: no validation rows to compare on"),
        ({0: math.nan, 3: 0.5}, {3}, 0.5, 0, "taken back: no validation rows to compare on"),
    ],
)  # fmt: skip
def test_the_best_that_holds_the_bar_is_taken(
    losses: dict[int, float], kept: set[int], tolerance: float, step: int, reason: str
) -> None:
    history = [{"step": step, "eval_loss": loss} for step, loss in losses.items()]
    taken = choose_step([{"step": 1, "loss": 0.1}, *history], kept, tolerance)
    assert (taken.step, taken.reason) == (step, reason)


def test_a_small_turn_goes_on_from_the_champion_and_gets_better(
    started: Start, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    report = go_on(started, base_model, teaching_data, tmp_path)
    champion = read_report(started.folder / "report.json")
    losses = measure(report)
    assert sorted(losses) == [0, 3, 6, 9, 12]  # the start and each of the four checkpoints
    assert losses[0] == report.start_loss == pytest.approx(champion.eval_loss, rel=1e-3)  # other batches
    assert report.eval_loss == min(losses.values()) < 0.8 * losses[0]
    assert not report.taken_back
    assert (report.steps, report.rows) == (12, 48)
    assert report.reason.startswith("48 rows, on from v1.202648.1; validation loss ")
    assert report.adapter_digest == digest_adapter(tmp_path / "out") != started.adapter
    kept = sorted(path.name for path in tmp_path.glob("checkpoints/*/checkpoint-*"))
    assert kept == ["checkpoint-12", "checkpoint-3", "checkpoint-6", "checkpoint-9"]


def test_what_is_published_are_the_weights_of_the_best_checkpoint(
    started: Start, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    """The rate grows with every step: the loss falls at first and is spoilt in the end."""
    from safetensors.torch import load_file

    report = go_on(
        started,
        base_model,
        teaching_data,
        tmp_path,
        learning_rate=0.2,
        warmup_ratio=1.0,
        lr_scheduler="constant_with_warmup",
    )
    losses = measure(report)
    best = min(losses, key=lambda step: losses[step])
    assert best not in (0, 12), losses
    assert f"at step {best}" in report.reason
    (checkpoint,) = tmp_path.glob(f"checkpoints/*/checkpoint-{best}")
    wanted, found = (load_file(folder / "adapter_model.safetensors") for folder in (checkpoint, tmp_path / "out"))
    assert wanted.keys() == found.keys()
    assert all(bool((wanted[name] == found[name]).all()) for name in wanted)


@pytest.mark.parametrize("rate", [10.0, 1e38])
def test_a_harmful_rate_is_taken_back_to_the_champion_byte_for_byte(
    started: Start, base_model: Path, teaching_data: Path, tmp_path: Path, rate: float
) -> None:
    report = go_on(started, base_model, teaching_data, tmp_path, learning_rate=rate)
    assert report.taken_back
    assert "taken back: validation loss" in report.reason
    assert report.adapter_digest == started.adapter
    assert report.eval_loss == report.start_loss
    assert adapter_bytes(tmp_path / "out") == adapter_bytes(started.folder)
    again = go_on(started, base_model, teaching_data, tmp_path, learning_rate=rate)
    assert again == report  # finished: nothing is trained again


def test_without_validation_rows_nothing_can_be_told(started: Start, base_model: Path, tmp_path: Path) -> None:
    data = write_teaching_data(tmp_path / "data", rows=8)
    write_rows(part_file(data, "sft", "validation"), "sft", [])
    report = go_on(started, base_model, data, tmp_path)
    assert (report.taken_back, report.start_loss) == (True, None)
    assert "no validation rows to compare on" in report.reason
    assert report.adapter_digest == started.adapter


def test_an_interrupted_small_turn_goes_on_to_the_same_bytes(
    started: Start, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    def stop(what: str, done: int, total: int | None) -> None:
        if done == 8:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        go_on(started, base_model, teaching_data, tmp_path / "broken", progress=stop)
    resumed = go_on(started, base_model, teaching_data, tmp_path / "broken")
    straight = go_on(started, base_model, teaching_data, tmp_path / "straight")
    assert (resumed.resumed_from_step, straight.resumed_from_step) == (6, 0)
    assert adapter_bytes(tmp_path / "broken" / "out") == adapter_bytes(tmp_path / "straight" / "out")
    assert (resumed.start_loss, resumed.eval_loss) == (straight.start_loss, straight.eval_loss)
    assert measure(resumed) == measure(straight)


def test_an_alignment_that_gets_worse_hands_the_sft_adapter_on(
    started: Start, sft_adapter: Path, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    def aligned(rate: float) -> TrainingReport:
        folder = tmp_path / str(rate)
        return align(
            teaching_data, sft_adapter, folder / "out", base=base_spec(base_model), training=training_spec(),
            rlhf=shrink(rlhf_spec(learning_rate=rate), SMALL), seed=5, at=Workplace(folder / "checkpoints"),
            start=started,
        )  # fmt: skip

    good, bad = aligned(2e-3), aligned(20.0)
    assert good.start_loss == pytest.approx(math.log(2), abs=1e-4)  # the policy is its own reference
    assert good.eval_loss is not None
    assert (good.taken_back, good.eval_loss < math.log(2)) == (False, True)
    assert good.adapter_digest != digest_adapter(sft_adapter)
    assert (bad.method, bad.taken_back, bad.adapter_digest) == ("dpo", True, digest_adapter(sft_adapter))


def test_what_the_champion_knew_counts_and_forgetting_it_stops_the_turn_early(
    sft_adapter: Path, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    """The new rows want other answers to the same questions: the better they are learnt, the more is forgotten."""
    data = write_teaching_data(tmp_path / "data")
    for part in ("train", "validation"):
        rows = [replace(row, id=f"n{row.id}", completion="ask Ann") for row in Dataset(data).sft(part)]
        write_rows(part_file(data, "sft", part), "sft", rows)
    folder = tmp_path / "start"
    shutil.copytree(sft_adapter, folder / "adapter")
    earlier = keep_earlier(teaching_data, folder)
    reports = {}
    for share in (0.0, 0.5):
        adapter, digest = folder / "adapter", digest_adapter(folder / "adapter")
        write_start(folder, Start(adapter, "v1.202648.1", digest, "", 0.0, share, earlier))
        start = read_start(folder)
        assert start is not None
        reports[share] = go_on(start, base_model, data, tmp_path / str(share), learning_rate=2e-2)
        mixed = start.mix("sft", Dataset(data).sft("validation"))
        assert Counter(row.completion == "ask Ann" for row in mixed) == {True: 12, **({False: 12} if share else {})}
        assert start.mix("sft", Dataset(teaching_data).sft("validation")) == Dataset(teaching_data).sft("validation")
    alone, mixed_in = (measure(reports[share]) for share in (0.0, 0.5))
    assert min(alone, key=lambda step: alone[step]) == 12  # the new rows alone would have it go on
    assert min(mixed_in, key=lambda step: mixed_in[step]) < 12
    assert mixed_in[12] > 1.1 * min(mixed_in.values())
    (folder / "earlier" / "sft" / "validation.parquet").unlink()
    with pytest.raises(BaseModelError, match=r"earlier: expected the rows"):
        read_start(folder)


def test_a_start_that_is_not_what_was_noted_is_refused(started: Start, base_model: Path, tmp_path: Path) -> None:
    folder, adapter = tmp_path / "start", tmp_path / "start" / "adapter"
    shutil.copytree(started.folder, adapter)
    write_start(folder, started)
    assert read_start(folder) == Start(adapter, started.version, started.adapter, started.base, 0.0)
    (adapter / "adapter_config.json").write_bytes(b"{}")
    with pytest.raises(
        BaseModelError, match=r"expected the adapter .* of v1\.202648\.1, found .*; open the turn again"
    ):
        read_start(folder)
    (adapter / "adapter_config.json").unlink()
    with pytest.raises(BaseModelError, match=r"found no adapter_config\.json"):
        read_start(folder)
    with pytest.raises(BaseModelError, match=r"expected start\.json"):
        read_start(tmp_path)
    write_start(tmp_path / "fresh")
    assert read_start(tmp_path / "fresh") is None


def test_a_start_on_another_base_is_refused(
    started: Start, base_model: Path, teaching_data: Path, tmp_path: Path
) -> None:
    other = Start(started.folder, started.version, started.adapter, "f" * 64, 0.0)
    with pytest.raises(
        BaseModelError, match=r"v1\.202648\.1: was trained on the base ffffffffffff, base\.model .* now"
    ):
        go_on(other, base_model, teaching_data, tmp_path)
    assert not (tmp_path / "out").exists()

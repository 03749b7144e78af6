"""`flytewheel plan` as a person calls it: real probes of the tiny model, in processes of their own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.errors import TrainingError
from flytewheel.planning.probe import Request, take_probe


def _recipe(folder: Path, base: Path, **sections: Any) -> Path:
    path = folder / "recipe.yaml"
    content = {
        "name": "made",
        "base": {"model": str(base), "max_length": 128},
        "training": {"epochs": 5.0, "gradient_accumulation": 1},
        "rlhf": {"min_preference_pairs": 10, "gradient_accumulation": 1, "epochs": 3.0},
        **sections,
    }
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def _plan(*arguments: str | Path, home: Path) -> Result:
    nowhere = {"FLYTEWHEEL_S3_URL": "http://127.0.0.1:9", "FLYTEWHEEL_DATABASE_URL": "postgresql://127.0.0.1:9/x"}
    environ = {**nowhere, "FLYTEWHEEL_HOME": str(home)}
    return CliRunner(env=environ).invoke(main, ["plan", *map(str, arguments)])


def test_a_probe_tells_steps_time_and_memory(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, base_model, budget={"hours": 0.002, "memory_gb": 8})
    before = sorted(path for path in teaching_data.rglob("*"))
    found = _plan(recipe, "--dataset", teaching_data, "--price-per-hour", "2", "--json", home=tmp_path / "home")
    assert found.exit_code == 0, found.output
    assert "probe sft 20/20" in found.stderr
    assert "probe dpo 20/20" in found.stderr
    content = json.loads(found.stdout)
    sft, alignment = content["parts"]
    assert (sft["method"], sft["rows"], sft["steps"]) == ("sft", 48, 60)
    assert (alignment["method"], alignment["rows"], alignment["steps"]) == ("dpo", 32, 24)
    assert alignment["reason"] == "32 of 10 pairs: dpo as rlhf.method says"
    for part in content["parts"]:
        assert part["memory_measured"]
        assert 3e8 < part["memory"] < 2e9
        assert 0 < part["seconds"][0] < part["seconds"][1]
        assert 0.5 < part["useful_share"] <= 1
        assert "budget.memory_gb 8: fits" in part["budget"]
    assert "budget.hours 0.002: would" in alignment["budget"]
    assert content["total"]["cost"] == pytest.approx([2 * hours for hours in content["total"]["hours"]])
    assert sorted(path for path in teaching_data.rglob("*")) == before
    assert not (tmp_path / "home").exists()


def test_arithmetic_needs_no_training(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, base_model, rlhf={"enable": False})
    found = _plan(recipe, "--dataset", teaching_data, "--no-probe", home=tmp_path / "home")
    assert found.exit_code == 0, found.output
    assert found.stderr == ""
    lines = {line.partition("  ")[0]: line.split() for line in found.stdout.splitlines()}
    assert lines["rows"] == ["rows", "48", "–"]
    assert lines["steps"] == ["steps", "60", "–", "60"]
    assert "SFT: 48 rows; time calculated: " in found.stdout
    assert "alignment: rlhf.enable is false: skipped" in found.stdout


def test_orpo_of_full_weights_in_several_processes(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    training = {"adapter": "full", "gradient_accumulation": 2, "nodes": 2, "gpus_per_node": 2}
    rlhf = {"method": "orpo", "min_preference_pairs": 10, "gradient_accumulation": 1}
    recipe = _recipe(tmp_path, base_model, training=training, rlhf=rlhf)
    found = _plan(recipe, "--dataset", teaching_data, "--json", home=tmp_path / "home")
    assert found.exit_code == 0, found.output
    sft, alignment = json.loads(found.stdout)["parts"]
    assert (sft["micro_batch"], alignment["micro_batch"]) == ("1 x 2, 4 times", "1 x 1, 4 times")
    assert alignment["method"] == "orpo"
    for part in (sft, alignment):
        assert part["memory_measured"]
        assert "20 steps on this device, of one process of 4 that share each step" in part["sure"]


def test_what_is_not_predicted_of_grpo_is_said(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    rlhf = {"method": "grpo", "batch_size": 8, "gradient_accumulation": 1, "grpo": {"max_answer_tokens": 32}}
    recipe = _recipe(tmp_path, base_model, rlhf=rlhf, reward={"min_pairs": 10}, budget={"hours": 1})
    found = _plan(recipe, "--dataset", teaching_data, "--no-probe", home=tmp_path / "home")
    assert found.exit_code == 0, found.output
    assert "reward model: 32 pairs; not predicted: time and memory of the reward model's training" in found.stdout
    assert "alignment: a reward model judges: grpo as rlhf.method says; not predicted: time and memory" in found.stdout
    (line,) = (line for line in found.stdout.splitlines() if line.startswith("time"))
    assert line.split().count("?") == 3
    found = _plan(recipe, "--dataset", teaching_data, "--no-probe", "--json", home=tmp_path / "home")
    content = json.loads(found.stdout)
    assert content["total"]["not_predicted"] == ["reward", "align"]
    assert content["parts"][2]["steps"] == content["parts"][2]["rows"] > 0


def test_memory_that_is_not_enough_is_one_line(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, base_model, budget={"memory_gb": 0.1})
    found = _plan(recipe, "--dataset", teaching_data, home=tmp_path / "home")
    assert found.exit_code == 2
    assert found.stdout == ""
    assert "budget.memory_gb: sft would take 0." in found.stderr


def test_wrong_input_is_one_line(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = _recipe(tmp_path, base_model)
    found = _plan(recipe, "--dataset", tmp_path / "none", home=tmp_path / "home")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("error: ")
    assert "no data set lies there" in found.stderr
    found = _plan(recipe, "--dataset", teaching_data, "--currency", "EUR", home=tmp_path / "home")
    assert found.exit_code == 2
    assert "--currency is of --price-per-hour" in found.stderr


def test_a_probe_that_fails_says_why(base_model: Path, teaching_data: Path, tmp_path: Path) -> None:
    recipe = {"name": "made", "base": {"model": str(tmp_path / "gone")}}
    with pytest.raises(
        TrainingError, match=r"^the probe of sft failed \(error: base\.model .*no such folder\); mend it"
    ):
        take_probe(Request("sft", recipe, str(teaching_data), str(tmp_path / "probe")))

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from flytewheel.dataset import Dataset, forms
from flytewheel.dataset.forms import KIND_OF, export_rows
from flytewheel.errors import DatasetError
from flytewheel.models import load_tokenizer
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import Message, SftRow, read_jsonl

from .made import PAIR, SFT, THUMB, make

TURNS = [{"role": turn.role, "content": turn.content} for turn in SFT.prompt]
COLUMNS = {
    "prompt-completion": {"prompt": TURNS, "completion": [{"role": "assistant", "content": "Prune."}]},
    "prompt-chosen-rejected": {
        "prompt": TURNS,
        "chosen": [{"role": "assistant", "content": "Prune it now."}],
        "rejected": [{"role": "assistant", "content": "Wait."}],
    },
    "prompt-completion-label": {
        "prompt": TURNS, "completion": [{"role": "assistant", "content": "Wait."}], "label": False,
    },
}  # fmt: skip


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    make(tmp_path / "set")
    return Dataset(tmp_path / "set")


@pytest.mark.parametrize("form", list(KIND_OF))
def test_trl_takes_the_conversational_form(tmp_path: Path, data: Dataset, form: str) -> None:
    """As TRL asks it of a row, and with a chat template of a real tokenizer put on."""
    import datasets
    from trl.data_utils import is_conversational, maybe_apply_chat_template

    written = export_rows(data, tmp_path / "out", form=form)
    assert written == {"train.jsonl": 1, "validation.jsonl": 1, "test.jsonl": 1}  # the holdout is not among them
    table = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"]
    row: dict[str, Any] = table[0]
    assert row == COLUMNS[form]
    assert is_conversational(row)
    shown = maybe_apply_chat_template(row, load_tokenizer(BaseModelSpec(model="pocket")))
    assert shown["prompt"].rstrip().endswith("assistant")
    answers = {name: value for name, value in shown.items() if name not in ("prompt", "label")}
    for name, value in answers.items():
        assert value.startswith(COLUMNS[form][name][0]["content"])


@pytest.mark.parametrize("form", list(KIND_OF))
def test_trl_takes_the_form_of_text(tmp_path: Path, data: Dataset, form: str) -> None:
    import datasets
    from trl.data_utils import is_conversational

    export_rows(data, tmp_path / "out", form=form, as_text=True)
    row = datasets.load_dataset(str(tmp_path / "out"), cache_dir=str(tmp_path / "cache"))["train"][0]
    assert not is_conversational(row)
    assert row.pop("prompt") == f"System: Be brief.\n\nUser: {TURNS[1]['content']}\n\nAssistant: "
    assert row == {
        name: value if name == "label" else value[0]["content"]
        for name, value in COLUMNS[form].items()
        if name != "prompt"
    }


def test_one_user_turn_is_its_own_text(tmp_path: Path) -> None:
    row = SftRow("s", "u", "t", (Message(role="user", content="Disk full?"),), "Prune.", 1.0, 0.9, "answer")
    make(tmp_path / "set", {("sft", "train"): [row]})
    export_rows(Dataset(tmp_path / "set"), tmp_path / "out", form="prompt-completion", as_text=True)
    assert list(read_jsonl(tmp_path / "out" / "train.jsonl")) == [{"prompt": "Disk full?", "completion": "Prune."}]


def test_records_are_exported_whole(tmp_path: Path, data: Dataset) -> None:
    written = export_rows(data, tmp_path / "out", form="jsonl", parts=("train", "holdout"))
    assert set(written) == {
        f"{kind}/{part}.jsonl" for kind in ("sft", "preference", "unpaired", "trajectory", "regression")
        for part in ("train", "holdout")
    }  # fmt: skip
    [row] = read_jsonl(tmp_path / "out" / "sft" / "train.jsonl")
    row["prompt"] = tuple(Message(**turn) for turn in row["prompt"])
    row["interactions"], row["events"] = tuple(row["interactions"]), tuple(row["events"])
    assert SftRow(**row) == data.sft("train")[0]


def test_an_export_tells_how_far_it_is(tmp_path: Path, data: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "_STEP", 1)
    told: list[tuple[str, int, int | None]] = []
    written = export_rows(data, tmp_path / "out", form="jsonl", progress=lambda *words: told.append(words))
    assert told == [(f"export {name}", row, None) for name, rows in written.items() for row in range(1, rows + 1)]


def test_nothing_is_left_of_an_export_that_fails(tmp_path: Path, data: Dataset) -> None:
    (tmp_path / "there").mkdir()
    with pytest.raises(DatasetError, match="there: exists already; name a folder that does not"):
        export_rows(data, tmp_path / "there", form="jsonl")
    make(tmp_path / "few", {("sft", "train"): [SFT], ("preference", "test"): [PAIR], ("unpaired", "train"): [THUMB]})
    few = Dataset(tmp_path / "few")
    with pytest.raises(DatasetError, match=r"few: 0 rows of preference in train; its card counts sft train 1; pref"):
        export_rows(few, tmp_path / "out", form="prompt-chosen-rejected", parts=("train",))
    path = tmp_path / "few" / "sft" / "train.parquet"
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(DatasetError, match=r"train\.parquet: cannot be read"):
        export_rows(few, tmp_path / "out", form="jsonl")
    assert {each.name for each in tmp_path.iterdir()} == {"there", "few", "set"}
    assert list((tmp_path / "there").iterdir()) == []


def test_lines_are_json_that_any_reader_takes(tmp_path: Path, data: Dataset) -> None:
    export_rows(data, tmp_path / "out", form="prompt-completion", parts=("test",))
    [line] = (tmp_path / "out" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    assert json.loads(line) == COLUMNS["prompt-completion"]

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.dataset import Dataset, DatasetCard, Step, digest_content, write_card
from flytewheel.errors import DatasetError
from flytewheel.records import Message, Preference, RegressionCase, SftRow, Unpaired, write_jsonl

ASK = (Message(role="system", content="Be brief."), Message(role="user", content="Disk full?"))
STEPS = (
    Step("screen", 9, 6, {"toxic": 2, "empty": 1}, {"toxic": ["…"]}),
    Step("split", 6, 5, {"empty": 1}),
)
CARD = DatasetCard("d", "c", ("oncall",), 9, 3, STEPS, {"sft": {"train": 1}}, {"train": 1}, {"disk": 1})


def test_rows_of_every_kind_come_back_as_they_were_written(tmp_path: Path) -> None:
    sft = SftRow("s", "u", "disk", ASK, "Prune.", 1.0, 0.9, "answer")
    pair = Preference("p", "u", "disk", ASK, "Prune.", "Wait.", 2.0, "answers")
    thumb = Unpaired("t", "u", "disk", ASK, "Wait.", False)
    case = RegressionCase("r", "u", "disk", ASK, "contains", "Prune")
    for kind, row in (("sft", sft), ("preference", pair), ("unpaired", thumb), ("regression", case)):
        write_jsonl(tmp_path / kind / "test.jsonl", [row])
    write_card(tmp_path, CARD)
    data = Dataset(tmp_path)
    assert (data.sft("test"), data.preferences("test"), data.unpaired("test"), data.regression()) == (
        [sft], [pair], [thumb], [case],
    )  # fmt: skip
    assert data.sft("train") == []
    assert data.card == CARD


def test_reasons_are_summed_over_the_steps() -> None:
    assert CARD.dropped == {"toxic": 2, "empty": 2}


def test_the_content_digest_is_of_rows_not_of_the_card(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "sft" / "train.jsonl", [SftRow("s", "u", "disk", ASK, "Prune.", 1.0, 0.9, "answer")])
    before = digest_content(tmp_path)
    write_card(tmp_path, CARD)
    write_card(tmp_path, replace(CARD, digest="other"))
    assert digest_content(tmp_path) == before
    write_jsonl(tmp_path / "sft" / "validation.jsonl", [])
    assert digest_content(tmp_path) != before


@pytest.mark.parametrize("text", [None, "{half"])
def test_a_folder_without_a_readable_card_is_no_data_set(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "card.json").write_text(text)
    with pytest.raises(DatasetError, match=r"no readable data set card .*; curate again"):
        Dataset(tmp_path)

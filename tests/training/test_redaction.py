"""Rows are looked at once more before they are trained on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from flytewheel.dataset import Dataset, DatasetCard, part_file, write_rows
from flytewheel.models import load_tokenizer
from flytewheel.pii import redact_conversations
from flytewheel.records import Message, Preference, SftRow, Unpaired
from flytewheel.training.redaction import look_again
from flytewheel.training.report import read_report
from flytewheel.training.rows import sft_rows
from flytewheel.training.sft import train_sft
from flytewheel.training.workplace import Workplace
from tests.training.teaching import base_spec, training_spec, write_teaching_data

CARD = DatasetCard("d", "c", ("s",), 1, 1, (), {}, {}, {})
ASKED = (Message(role="user", content="mail ann.lee@example.com or bob@example.org?"),)
SFT = SftRow("a", "u", "t", ASKED, "Mail bob@example.org, then ann.lee@example.com.", 1.0, 0.9, "answer")
CLEAN = replace(SFT, id="b", prompt=(Message(role="user", content="restart it?"),), completion="Yes, on port 8080.")


def test_what_curation_left_is_replaced_over_the_whole_row() -> None:
    looked = look_again([SFT, CLEAN], [SFT], CARD, redact_conversations)
    assert [turn.content for turn in looked.train[0].prompt] == ["mail <EMAIL_1> or <EMAIL_2>?"]
    assert looked.train[0].completion == "Mail <EMAIL_2>, then <EMAIL_1>."
    assert looked.train[1] == CLEAN
    assert looked.validation == looked.train[:1]
    assert looked.changed == 2
    again = look_again(looked.train, looked.validation, CARD, redact_conversations)
    assert (again.train, again.changed, again.name()) == (looked.train, 0, {})


def test_the_name_of_a_training_tells_what_was_found() -> None:
    other = replace(SFT, completion="Mail carl@example.net.")
    names = [look_again([row], [], CARD, redact_conversations).name()["redacted"] for row in (SFT, other, SFT)]
    assert names[0] == names[2] != names[1]


def test_both_answers_of_a_pair_are_looked_at() -> None:
    pair = Preference("p", "u", "t", ASKED, "Mail ann.lee@example.com.", "Ask carl@example.net.", 2.0, "same_prompt")
    [looked] = look_again([pair], [], CARD, redact_conversations).train
    assert (looked.chosen, looked.rejected) == ("Mail <EMAIL_1>.", "Ask <EMAIL_3>.")


def test_thumbs_are_looked_at() -> None:
    looked = look_again(
        [Unpaired("t", "u", "t", ASKED, "Call +44 20 7946 0958.", True)], [], CARD, redact_conversations
    )
    assert looked.train[0].completion == "Call <PHONE_1>."
    assert looked.train[0].label is True


@pytest.mark.parametrize("kept", [True, False])
def test_data_that_was_never_to_be_redacted_stays(kept: bool) -> None:
    card = replace(CARD, recipe={"curation": {"redact_pii": not kept}})
    looked = look_again([SFT], [], card, redact_conversations)
    assert (looked.train == [SFT], looked.changed == 0) == (kept, kept)
    assert look_again([SFT], [], CARD, None).train == [SFT]


def test_a_training_never_sees_it_and_says_so(base_model: Path, tmp_path: Path) -> None:
    """Somebody edits a frozen data set by hand; the training is another one, on clean rows."""
    data = write_teaching_data(tmp_path / "data", rows=8, pairs=0, unpaired=0)
    options = {"base": base_spec(base_model), "training": training_spec(epochs=1.0), "seed": 1}
    first = train_sft(data, tmp_path / "a", at=Workplace(tmp_path / "c"), redact=redact_conversations, **options)
    assert first.redacted_rows == 0
    rows = Dataset(data).sft("train")
    rows[3] = replace(rows[3], completion="restart it and mail ann.lee@example.com now")
    write_rows(part_file(data, "sft", "train"), "sft", rows)
    blind = train_sft(data, tmp_path / "b", at=Workplace(tmp_path / "c"), **options)
    seeing = train_sft(data, tmp_path / "d", at=Workplace(tmp_path / "c"), redact=redact_conversations, **options)
    assert (blind.redacted_rows, seeing.redacted_rows) == (0, 1)
    assert blind.adapter_digest != seeing.adapter_digest
    assert read_report(tmp_path / "d" / "report.json").redacted_rows == 1
    tokenizer = load_tokenizer(options["base"])
    looked = look_again(rows, [], Dataset(data).card, redact_conversations)
    table = sft_rows(looked.train, tokenizer, 128).table
    assert not any("example.com" in tokenizer.decode(ids) for ids in table["input_ids"])

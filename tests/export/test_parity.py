"""The bundled model serves where a fault must show in what a model says: random weights say the same with it."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytewheel.errors import ExportError
from flytewheel.export import parity
from flytewheel.export.families import llama, plan, rope
from flytewheel.export.merge import merge_adapter
from flytewheel.export.parity import check_parity
from flytewheel.models import load_tokenizer
from flytewheel.pocket.users import draw_questions
from flytewheel.recipe import BaseModelSpec
from flytewheel.records import Message, build_prompt
from tests.export.written import quantize, write_model

POCKET = BaseModelSpec(model="pocket")


@pytest.fixture(scope="module")
def model() -> Any:
    return merge_adapter(POCKET, None)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer(POCKET)


@pytest.fixture(scope="module")
def prompts() -> list[tuple[Message, ...]]:
    questions = draw_questions(3, 1)
    return [build_prompt(question.query, system=question.system, context=question.context) for question in questions]


def export_and_check(model: Any, tokenizer: Any, path: Path, prompts: Any, **options: Any) -> parity.ParityReport:
    write_model(model, tokenizer, path)
    return check_parity(model, tokenizer, {"F16": path}, prompts, **{"max_tokens": 24, "tolerance": 0.05, **options})


def test_every_kind_says_what_the_weights_say(model: Any, tokenizer: Any, prompts: Any, tmp_path: Path) -> None:
    files = {kind: tmp_path / f"{kind}.gguf" for kind in ("F16", "Q8_0", "Q4_K_M")}
    write_model(model, tokenizer, files["F16"])
    for kind in ("Q8_0", "Q4_K_M"):
        assert quantize(files["F16"], files[kind], kind).fallbacks == {}

    report = check_parity(model, tokenizer, files, prompts, max_tokens=24, tolerance=0.05)

    assert [len(prompt.near_ties) for prompt in report.prompts] == [0, 0, 0]
    assert report.files["F16"].top1 == 1
    assert report.files["F16"].mean_kl_nats < 1e-5 < report.files["Q4_K_M"].mean_kl_nats < 0.1
    assert report.files["Q8_0"].top1 >= 0.98
    assert report.files["F16"].positions == sum(prompt.answer_tokens for prompt in report.prompts)
    assert all(prompt.answer_tokens <= 24 and prompt.answer for prompt in report.prompts)


def swapped(find: Any) -> Any:
    one, other = "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"
    return lambda *where: {one: other, other: one}.get(find(*where), find(*where))


@pytest.mark.parametrize(
    ("module", "name", "fault"),
    [
        (llama, "interleave", lambda rows, heads: None),
        (rope, "rope_base", lambda config: 500_000.0),
        (plan, "find_name", swapped(plan.find_name)),
    ],
    ids=["q-and-k-not-reordered", "wrong-rope-theta", "swapped-tensors"],
)
def test_a_wrong_tensor_is_told_by_the_first_token_that_differs(
    module: Any,
    name: str,
    fault: Any,
    model: Any,
    tokenizer: Any,
    prompts: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, fault)
    pattern = r"prompt \d+: token \d+ of the answer is \d+ '.*' for transformers but \d+ '.*' for llama\.cpp"
    with pytest.raises(ExportError, match=pattern) as raised:
        export_and_check(model, tokenizer, tmp_path / "f16.gguf", prompts)
    assert "\n" not in str(raised.value)
    with pytest.raises(ExportError, match="nats a token"):  # and were every difference taken for a tie, by divergence
        export_and_check(model, tokenizer, tmp_path / "f16.gguf", prompts, tolerance=1e9)


@pytest.mark.parametrize("wrong", ["gpt-2", "qwen2", "smollm"])
def test_a_wrong_pre_tokenizer_is_told_by_the_first_token_that_differs(
    wrong: str, model: Any, tokenizer: Any, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gguf import GGUFWriter

    monkeypatch.setattr(GGUFWriter, "add_tokenizer_pre", lambda self, _: self.add_string("tokenizer.ggml.pre", wrong))
    with pytest.raises(ExportError, match=r"prompt 1: token \d+ is \d+ '.*' for the tokenizer but \d+ '.*' for llama"):
        export_and_check(model, tokenizer, tmp_path / "f16.gguf", prompts)


def test_a_start_token_too_many_is_told(
    model: Any, tokenizer: Any, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gguf import GGUFWriter

    def add_bos(writer: Any, _: bool) -> None:
        writer.add_bos_token_id(5)
        writer.add_bool("tokenizer.ggml.add_bos_token", True)

    monkeypatch.setattr(GGUFWriter, "add_add_bos_token", add_bos)
    with pytest.raises(ExportError, match=r"prompt 1: token 0 is .* but 5 "):
        export_and_check(model, tokenizer, tmp_path / "f16.gguf", prompts)


def test_a_quantised_file_that_has_lost_too_much_is_refused(
    model: Any, tokenizer: Any, prompts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right, wrong = tmp_path / "right.gguf", tmp_path / "wrong.gguf"
    write_model(model, tokenizer, right)
    monkeypatch.setattr(llama, "interleave", lambda rows, heads: None)
    write_model(model, tokenizer, wrong)
    files = {"F16": right, "Q8_0": wrong}
    with pytest.raises(ExportError, match=r"wrong\.gguf: only .*% of the best tokens .* \(at least 90%\)"):
        check_parity(model, tokenizer, files, prompts, max_tokens=24, tolerance=0.05)
    files = {"F16": right, "Q4_K_M": wrong}  # reported, not refused
    assert check_parity(model, tokenizer, files, prompts, max_tokens=24, tolerance=0.05).files["Q4_K_M"].top1 < 0.9


def test_prompts_without_room_for_an_answer_are_skipped_and_said(
    model: Any, tokenizer: Any, prompts: Any, tmp_path: Path
) -> None:
    long = build_prompt("disk full " * 1000)
    report = export_and_check(model, tokenizer, tmp_path / "f16.gguf", [prompts[0], long], max_tokens=4)
    assert (len(report.prompts), report.skipped_too_long) == (1, 1)
    with pytest.raises(ExportError, match="none of 1 prompts leaves room for 4 tokens"):
        export_and_check(model, tokenizer, tmp_path / "f16.gguf", [long], max_tokens=4)


def test_a_file_that_llama_cpp_cannot_load_is_named(model: Any, tokenizer: Any, prompts: Any, tmp_path: Path) -> None:
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ExportError, match=r"broken\.gguf: llama\.cpp cannot load it"):
        check_parity(model, tokenizer, {"F16": tmp_path / "broken.gguf"}, prompts, max_tokens=4, tolerance=0.05)


def test_near_ties_within_the_tolerance_are_reported() -> None:
    class Fake:
        def decode(self, ids: list[int]) -> str:
            return " ".join(str(index) for index in ids)

        def detokenize(self, ids: list[int], special: bool) -> bytes:
            return self.decode(ids).encode()

    reference = np.array([[0.0, 1.0, 0.96], [3.0, 0.0, 0.0]])
    answer = parity._Answer("", [7], [2, 0], reference, reference)
    assert parity._find_ties("f", Fake(), Fake(), answer, 0.05) == (
        parity.NearTie(position=0, reference="1", file="2", gap_logits=pytest.approx(0.04)),
    )
    with pytest.raises(
        ExportError, match=r"token 0 of the answer is 1 '1' for transformers but 2 '2' for llama\.cpp, 0\.04"
    ):
        parity._find_ties("f", Fake(), Fake(), answer, 0.03)
    broken = dataclasses.replace(answer, reference=np.array([[np.nan, 1.0, 1.0], [3.0, 0.0, 0.0]]))
    with pytest.raises(ExportError, match="nan logits apart"):
        parity._find_ties("f", Fake(), Fake(), broken, 0.05)


def test_divergence_by_hand() -> None:
    # KL((3/4, 1/4) || (1/2, 1/2)) = 3/4 ln(3/2) + 1/4 ln(1/2); a constant added to all logits changes nothing.
    reference, got = np.log(np.array([[3.0, 1.0], [3.0, 1.0]])) + 5, np.array([[0.0, 0.0], [np.log(3.0), 0.0]])
    expected = 0.75 * np.log(1.5) + 0.25 * np.log(0.5)
    assert parity._divergence(reference, got).tolist() == pytest.approx([expected, 0.0])

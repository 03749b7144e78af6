"""Faults in a converter that the plan shares (so the numbers are right), and in finished files, in two kinds each."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from flytewheel.errors import ExportError
from flytewheel.export.families import llama, plan, rope
from flytewheel.export.parity import AdapterFiles
from flytewheel.records import build_prompt, to_jsonable
from tests.export.parity.conftest import SPEC, Candidate, train_adapter
from tests.export.written import edit_field

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft


def test_a_right_file_of_every_kind_passes_near_what_its_rounding_must_cost(candidate: Candidate) -> None:
    report = candidate.check(candidate.files)

    assert set(report.files) == {"F16", "Q8_0", "Q4_K_M"}
    for kind, file in report.files.items():
        assert file.positions == sum(text.positions for text in report.texts) == 320
        assert file.worst_block <= 1.0, kind  # the same numbers, bit by bit
        assert 0.8 < file.mean_kl_nats / file.noise_kl_nats < 1.25, kind
        assert file.execution_kl_nats < 0.35 * file.noise_kl_nats, kind
        assert 1 / 3 < file.base_ratio < 8, kind
    assert report.files["F16"].mean_kl_nats < 1e-7 < report.files["Q8_0"].mean_kl_nats
    assert report.files["Q8_0"].mean_kl_nats < report.files["Q4_K_M"].mean_kl_nats < 1e-2
    assert [prompt.number for prompt in report.prompts] == [1, 2, 3, 4]
    for prompt in report.prompts:
        assert all(0 < answer.tokens <= 12 for answer in prompt.answers.values())
        assert prompt.answers["F16"].near_ties == ()


def test_the_report_holds_no_text_of_a_person(candidate: Candidate) -> None:
    report = candidate.check({"Q8_0": candidate.files["Q8_0"]})
    assert "tool text" in report.tokens.battery
    assert collect_texts(to_jsonable(report)) == set(report.tokens.battery)


def collect_texts(value: Any) -> set[str]:
    if isinstance(value, dict | list):
        return set().union(*map(collect_texts, value.values() if isinstance(value, dict) else value))
    return {value} if isinstance(value, str) else set()


def swapped(find: Any) -> Any:
    one, other = "blk.0.ffn_gate.weight", "blk.0.ffn_up.weight"
    return lambda *where: {one: other, other: one}.get(find(*where), find(*where))


def shifted(make: Any) -> Any:
    """Norms one too large, as Gemma's are one too small where the converter forgets to shift them."""
    return lambda *given, **more: [
        dataclasses.replace(tensor, shift=1.0) if "norm" in tensor.name else tensor for tensor in make(*given, **more)
    ]


@pytest.mark.parametrize(
    ("module", "name", "fault", "kind"),
    [
        (llama, "interleave", lambda rows, heads: None, "Q4_K_M"),
        (rope, "rope_base", lambda config: 500_000.0, "Q8_0"),
        (plan, "find_name", swapped(plan.find_name), "Q8_0"),
        (llama, "place_plainly", shifted(llama.place_plainly), "Q4_K_M"),
    ],
    ids=["q-and-k-not-reordered", "wrong-rope-theta", "swapped-tensors", "norms-not-shifted"],
)
def test_a_converter_that_is_wrong_for_the_base_as_well_is_told(
    module: Any,
    name: str,
    fault: Any,
    kind: str,
    candidate: Candidate,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, name, fault)
    files = candidate.write(tmp_path, kind)
    wanted = r"llama\.cpp computes something else than these numbers say, .* first at text \d+, token \d+: \d+ '.*' for"
    with pytest.raises(ExportError, match=wanted) as raised:
        candidate.check(files)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "key", "value"),
    [("Q4_K_M", "rope.freq_base", 500_000.0), ("Q8_0", "attention.layer_norm_rms_epsilon", 1e-2)],
)
def test_a_wrong_option_in_one_file_is_told(
    kind: str, key: str, value: float, candidate: Candidate, tmp_path: Path
) -> None:
    path = candidate.copy(tmp_path, kind)
    edit_field(path, f"llama.{key}", value)
    with pytest.raises(ExportError, match=rf"model-{kind}\.gguf: llama\.cpp computes something else"):
        candidate.check({kind: path})


def test_an_adapter_that_the_file_lacks_shows_in_distributions_too(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Were the numbers not read, the base's file would still be found to say something else than the candidate.
    from flytewheel.export.parity import numbers

    monkeypatch.setattr(numbers, "MAX_ERROR", np.inf)
    base = dataclasses.replace(candidate, adapter=None)
    with pytest.raises(ExportError, match=r"loses .* times what Q8_0 costs the base|something else|best token"):
        candidate.check(base.write(tmp_path, "Q8_0"))


def test_weights_that_do_not_bear_a_kind_are_refused_by_what_it_costs_the_base(
    candidate: Candidate, tmp_path: Path
) -> None:
    wild = dataclasses.replace(candidate, adapter=train_adapter(tmp_path / "wild", 1, strength=0.5))
    with pytest.raises(ExportError, match=r"loses .* times what Q4_K_M costs the base .* do not bear Q4_K_M; serve a"):
        wild.check(wild.write(tmp_path, "Q4_K_M"))


def test_nothing_to_compare_is_no_pass(candidate: Candidate, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="no file to compare"):
        candidate.check({})
    long = build_prompt("disk full " * 1000)
    with pytest.raises(ExportError, match="none of 1 prompts leaves room for 12 tokens"):
        candidate.check({"Q8_0": candidate.files["Q8_0"]}, conversations=[long])
    few = SPEC.model_copy(update={"parity_positions": 16})
    with pytest.raises(ExportError, match="16 positions are too few to tell"):
        candidate.check({"Q8_0": candidate.files["Q8_0"]}, spec=few)
    (tmp_path / "broken.gguf").write_bytes(b"GGUF but not really")
    with pytest.raises(ExportError, match=r"broken\.gguf: is no whole GGUF"):
        candidate.check({"Q8_0": tmp_path / "broken.gguf"})


def test_prompts_without_room_for_an_answer_are_skipped_and_said(candidate: Candidate) -> None:
    talks = [*candidate.talks[:2], build_prompt("disk full " * 1000)]
    report = candidate.check({"Q8_0": candidate.files["Q8_0"]}, conversations=talks)
    assert ([prompt.number for prompt in report.prompts], report.skipped_too_long) == ([1, 2], 1)
    assert len(report.texts) == 3


def test_the_adapters_file_on_the_bases_passes(candidate: Candidate, tmp_path: Path) -> None:
    from flytewheel.export.lora import write_lora
    from flytewheel.export.source import open_source
    from tests.export.parity.conftest import POCKET

    base = dataclasses.replace(candidate, adapter=None).write(tmp_path, "Q8_0")["Q8_0"]
    with open_source(POCKET, candidate.adapter) as source:
        write_lora(source, tmp_path / "adapter.gguf", name="pocket")
    given = AdapterFiles(tmp_path / "adapter.gguf", base, "Q8_0")
    report = candidate.check({"Q8_0": candidate.files["Q8_0"]}, adapter=given)
    alone, merged = report.files["adapter"], report.files["Q8_0"]
    assert alone.execution_kl_nats < 0.5 * alone.noise_kl_nats
    assert alone.mean_kl_nats < 2 * merged.mean_kl_nats
    assert all(set(prompt.answers) == {"Q8_0", "adapter"} for prompt in report.prompts)

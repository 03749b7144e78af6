"""Wrong vocabularies, start and end tokens and chat templates: in the converter, and in one finished file."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flytewheel.errors import ExportError
from flytewheel.export.parity import tokens
from flytewheel.export.parity.tokens import check_tokens, render_prompts
from flytewheel.export.vocabulary import find_specials
from flytewheel.models import POCKET as FOLDER
from tests.export.parity.conftest import Candidate
from tests.export.written import edit_field, edit_text

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")  # by peft


def check(candidate: Candidate, *files: Path, tokenizer: Any = None, ends: tuple[int, ...] | None = None) -> Any:
    tokenizer = tokenizer or candidate.tokenizer
    prompts = render_prompts(tokenizer, [talk[:-1] for talk in candidate.talks])
    return check_tokens(list(files), tokenizer, prompts, ends or find_specials(tokenizer, FOLDER).ends)


def test_prompts_and_battery_are_the_same_for_llama_cpp_and_its_server(candidate: Candidate) -> None:
    found = check(candidate, *candidate.files.values())
    assert (found.refused, found.excused, found.ends_missed) == ((), (), ())
    assert found.by_server == len(found.battery) + 4 == found.held_out + 19


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (
            lambda path, pre: edit_text(path, "tokenizer.ggml.pre", pre, {4: b"poro", 9: b"gpt-neox\0"}[len(pre)]),
            r"token \d+ is \d+ '.*' for the tokenizer but \d+ '.*' for llama\.cpp|cannot load it",
        ),
        (
            lambda path, _: edit_field(path, "tokenizer.ggml.eos_token_id", 5),
            r"the eos token is 5 .* in the file, 0 '<\|im_end\|>' for the tokenizer",
        ),
        (
            lambda path, _: edit_text(path, "tokenizer.chat_template", b"assistant\\n", b"assistent\\n"),
            r"rendered by llama\.cpp's server: token \d+ is .* chat template are not the model's",
        ),
        (
            lambda path, _: edit_text(path, "tokenizer.chat_template", b"endfor", b"endfro"),
            r"llama\.cpp cannot load it \(.*endfro",
        ),
    ],
    ids=["pre-tokenizer", "eos", "template", "template-syntax"],
)
def test_a_spoilt_file_is_told_by_the_first_token_that_differs(
    fault: Callable[[Path, bytes], None], told: str, kind: str, candidate: Candidate, tmp_path: Path
) -> None:
    from gguf import GGUFReader

    path = candidate.copy(tmp_path, kind)
    pre = bytes(GGUFReader(path).fields["tokenizer.ggml.pre"].parts[-1])
    fault(path, pre)
    with pytest.raises(ExportError, match=told) as raised:
        check(candidate, path)
    assert str(raised.value).startswith(f"model-{kind}.gguf: ")
    assert "\n" not in str(raised.value)


def test_files_of_one_export_have_one_template(candidate: Candidate, tmp_path: Path) -> None:
    path = candidate.copy(tmp_path, "Q4_K_M")
    edit_text(path, "tokenizer.chat_template", b"assistant\\n", b"assistent\\n")
    with pytest.raises(ExportError, match=r"model-Q4_K_M\.gguf: its chat template is not that of the other files"):
        check(candidate, candidate.files["Q8_0"], path)


@pytest.fixture
def starting(candidate: Candidate) -> Any:
    """A tokenizer with a start token that its template writes."""
    tokenizer = copy.deepcopy(candidate.tokenizer)
    tokenizer.bos_token = "<|pad|>"
    tokenizer.chat_template = "{{ bos_token }}" + tokenizer.chat_template
    return tokenizer


@pytest.mark.parametrize("kind", ["Q8_0", "Q4_K_M"])
def test_a_double_bos_is_named(
    kind: str, starting: Any, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    right = candidate.write(tmp_path, kind, tokenizer=starting)[kind]
    check(candidate, right, tokenizer=starting)

    edit_field(right, "tokenizer.ggml.add_bos_token", True)
    with pytest.raises(ExportError, match=r"prompt 1: token 1 is .* a double BOS, the chat template writes the start"):
        check(candidate, right, tokenizer=starting)


def test_a_start_token_that_training_did_not_have_is_told(candidate: Candidate, starting: Any, tmp_path: Path) -> None:
    starting.chat_template = candidate.tokenizer.chat_template
    path = candidate.write(tmp_path, "Q8_0", tokenizer=starting)["Q8_0"]
    edit_field(path, "tokenizer.ggml.add_bos_token", True)
    with pytest.raises(ExportError, match=r"prompt 1: token 0 is .* a start token that training did not have"):
        check(candidate, path, tokenizer=starting)


def test_an_end_that_llama_cpp_does_not_know_is_told(candidate: Candidate) -> None:
    ordinary = candidate.tokenizer("a", add_special_tokens=False)["input_ids"][0]
    with pytest.raises(ExportError, match=rf"does not know {ordinary} 'a' as the end of an answer: it would write on"):
        check(candidate, candidate.files["Q8_0"], ends=(0, ordinary))
    # A file has room for three; further ones are reported.
    found = check(candidate, candidate.files["Q8_0"], ends=(0, 0, 0, ordinary))
    assert found.ends_missed == (ordinary,)


def test_text_of_a_kind_that_llama_cpp_cannot_be_told_is_excused_and_said(
    candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As for Qwen, whose tokenizer composes text (NFC) first: letters with loose marks differ, all else must not.
    path = candidate.copy(tmp_path, "Q8_0")
    right = tokens.tokenize

    def compose(tokenizer: Any, text: str) -> list[int]:
        import unicodedata

        return right(tokenizer, unicodedata.normalize("NFC", text))

    monkeypatch.setattr(tokens, "tokenize", compose)
    with pytest.raises(ExportError, match="combining"):
        check(candidate, path)
    domain = SimpleNamespace(tests=(lambda text: not any("\u0300" <= sign < "\u0370" for sign in text),))
    monkeypatch.setattr(tokens, "list_domains", lambda raw, tokenizer: [domain])
    assert check(candidate, path).excused == ("combining",)


@pytest.mark.parametrize(
    ("got", "told"),
    [
        ([7, 7, 8], "a double BOS"),
        ([9, 7, 8], "a start token that training did not have"),
        ([8], "the start token that training had is missing"),
        ([7], "token 1 is 8 .* but no token for llama.cpp; pre-tokenizer"),
        ([7, 9], "token 1 is 8 .* but 9 .* for llama.cpp; pre-tokenizer"),
    ],
)
def test_each_difference_has_its_name(got: list[int], told: str, candidate: Candidate) -> None:
    tokens._require_equal("f", candidate.tokenizer, [7, 8], [7, 8])
    with pytest.raises(ExportError, match=told):
        tokens._require_equal("f", candidate.tokenizer, [7, 8], got)

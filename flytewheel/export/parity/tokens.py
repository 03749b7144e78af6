"""Whether llama.cpp makes the same token ids of a conversation as training did, for every file.

Two ways lead there, and both are held against the tokenizer's ids of the template's text. llama.cpp tokenises that
text, special tokens parsed and its own start token added if the file asks for one. And a real llama.cpp server is given
the messages, renders them from the chat template in the file, and tokenises that. The ids that end an answer, which no
text shows, are asked for one by one.

The files of one export must have the same vocabulary and template; each is tokenised with, the server runs on one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError, LlamaServerError
from flytewheel.export.llamacpp import open_llama
from flytewheel.export.parity.battery import list_cases, to_messages
from flytewheel.export.parity.report import TokenParity
from flytewheel.export.vocabulary.domain import list_domains
from flytewheel.export.vocabulary.layout import read_raw
from flytewheel.records import Message

_TIMEOUT_S = 60.0
_MARKED_ENDS = 3  # a file has room for an end of text, of a turn, and of a message


@dataclass(frozen=True, slots=True)
class Prompt:
    """A conversation whose answer comes next: its name, its turns, the template's text, the tokenizer's ids."""

    name: str
    messages: list[dict[str, str]]
    text: str
    ids: list[int]


def render_prompts(tokenizer: Any, prompts: Sequence[tuple[Message, ...]]) -> list[Prompt]:
    """Held-out prompts by their number, as training renders and tokenises them."""
    found = []
    for number, prompt in enumerate(prompts):
        messages = [{"role": str(message.role), "content": message.content} for message in prompt]
        text = render(tokenizer, messages, reply=True)
        found.append(Prompt(f"prompt {number + 1}", messages, text, tokenize(tokenizer, text)))
    return found


def render(tokenizer: Any, messages: Sequence[Mapping[str, str]], *, reply: bool) -> str:
    """The chat template's text, with the opening of an answer where there is to be a `reply`."""
    return str(tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=reply))


def tokenize(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a rendered text: nothing is added to what the template wrote."""
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def check_tokens(
    files: Sequence[Path], tokenizer: Any, prompts: Sequence[Prompt], ends: Sequence[int], *, threads: int = 1
) -> TokenParity:
    """Compares token ids of the held-out prompts and of the built-in battery, and the tokens that end an answer.

    Args:
        files: To ask.
        tokenizer: Of the model.
        prompts: Held-out ones.
        ends: Ids that end an answer, the most important first.
        threads: Of the server.

    Raises:
        ExportError: something differs; the first differing token is named with its ids, texts and place.
    """
    battery, refused = _render_battery(tokenizer)
    asked, excused = [*prompts, *battery], []
    can_differ = _find_limit(tokenizer)
    template: str | None = None
    missed: tuple[int, ...] = ()
    for path in files:
        with open_llama(path, vocab_only=True) as llama:
            missed = _check_ends(path.name, llama, tokenizer, ends)
            for prompt in list(asked):
                # `add_bos` only lets llama.cpp do what the file says.
                got = list(llama.tokenize(prompt.text.encode(), add_bos=True, special=True))
                if got != prompt.ids and can_differ(prompt):
                    asked.remove(prompt)
                    excused.append(prompt.name)
                    continue
                _require_equal(f"{path.name}: {prompt.name}", tokenizer, prompt.ids, got)
            read = _read_template(llama)
        if template is not None and read != template:
            raise ExportError(f"{path.name}: its chat template is not that of the other files; export again")
        template = read
    _check_server(min(files, key=lambda path: path.stat().st_size), tokenizer, asked, threads=threads)
    return TokenParity(
        battery=tuple(prompt.name for prompt in battery),
        refused=refused,
        excused=tuple(excused),
        ends_missed=missed,
        held_out=len(prompts),
        by_server=len(asked),
        tokens=sum(len(prompt.ids) for prompt in asked),
    )


def _find_limit(tokenizer: Any) -> Callable[[Prompt], bool]:
    """Whether a prompt is of a kind that llama.cpp cannot be told about, by what this tokenizer does to text."""
    narrowest = list_domains(read_raw(tokenizer), tokenizer)[-1]

    def can_differ(prompt: Prompt) -> bool:
        texts = [message["content"] for message in prompt.messages]
        return not all(test(text) for test in narrowest.tests for text in texts)

    return can_differ


def _render_battery(tokenizer: Any) -> tuple[list[Prompt], tuple[str, ...]]:
    from jinja2 import TemplateError

    found, refused = [], []
    for name, turns in list_cases(tokenizer).items():
        messages = to_messages(turns)
        try:
            text = render(tokenizer, messages, reply=True)
        except TemplateError:  # Gemma's takes no system turn
            refused.append(name)
            continue
        found.append(Prompt(name, messages, text, tokenize(tokenizer, text)))
    return found, tuple(refused)


def _check_ends(where: str, llama: Any, tokenizer: Any, ends: Sequence[int]) -> tuple[int, ...]:
    """Start and end tokens; returns the further end tokens that the file has no room for."""
    import llama_cpp

    vocabulary = llama._model.vocab
    for kind in ("bos", "eos"):
        wanted = getattr(tokenizer, f"{kind}_token_id")
        got = getattr(llama_cpp, f"llama_vocab_{kind}")(vocabulary)
        if wanted is not None and got != wanted:
            raise ExportError(
                f"{where}: the {kind} token is {_tell(tokenizer, got)} in the file, {_tell(tokenizer, wanted)} for the "
                "tokenizer"
            )
    known = [bool(llama_cpp.llama_vocab_is_eog(vocabulary, end)) for end in ends]
    for end, is_end in list(zip(ends, known, strict=True))[:_MARKED_ENDS]:
        if not is_end:
            raise ExportError(
                f"{where}: llama.cpp does not know {_tell(tokenizer, end)} as the end of an answer: it would write on"
            )
        if llama.detokenize([end], special=False):
            raise ExportError(f"{where}: llama.cpp would print the end token {_tell(tokenizer, end)} as text")
    return tuple(end for end, is_end in zip(ends, known, strict=True) if not is_end)


def _read_template(llama: Any) -> str:
    import llama_cpp

    found = llama_cpp.llama_model_chat_template(llama._model.model, None)
    return found.decode(errors="replace") if found else ""


def _check_server(path: Path, tokenizer: Any, prompts: Sequence[Prompt], *, threads: int) -> None:
    """What a server makes of the messages, by its own reading of the file's chat template."""
    import httpx

    from flytewheel.llama_server import run_server

    try:
        with (
            run_server(path, alias="parity", threads=threads, slot_tokens=256) as url,
            httpx.Client(base_url=url, timeout=_TIMEOUT_S, trust_env=False) as client,
        ):
            for prompt in prompts:
                where = f"{path.name}: {prompt.name}, rendered by llama.cpp's server"
                answer = client.post("/apply-template", json={"messages": prompt.messages})
                if answer.status_code != 200:
                    raise ExportError(
                        f"{where}: it refuses its chat template ({' '.join(answer.text.split())[:200]}), which the "
                        "tokenizer takes"
                    )
                text = answer.json()["prompt"]
                got = client.post("/tokenize", json={"content": text, "add_special": True, "parse_special": True})
                _require_equal(where, tokenizer, prompt.ids, list(got.raise_for_status().json()["tokens"]))
    except (LlamaServerError, httpx.HTTPError) as error:
        raise ExportError(f"{path.name}: llama.cpp's server cannot be asked ({error})") from None


def _require_equal(where: str, tokenizer: Any, expected: list[int], got: list[int]) -> None:
    """Raises where two lists of ids differ, and says how."""
    if got == expected:
        return
    pairs = zip(expected, got, strict=False)
    at = next((index for index, (one, other) in enumerate(pairs) if one != other), min(len(expected), len(got)))
    said = [_tell(tokenizer, ids[at]) if at < len(ids) else "no token" for ids in (expected, got)]
    told = f"{where}: token {at} is {said[0]} for the tokenizer but {said[1]} for llama.cpp"
    if got[1:] == expected and got[:1] == expected[:1]:
        raise ExportError(
            f"{told}: a double BOS, the chat template writes the start token and add_bos_token adds another"
        )
    if got[1:] == expected:
        raise ExportError(f"{told}: a start token that training did not have; add_bos_token must be false")
    if got == expected[1:]:
        raise ExportError(f"{told}: the start token that training had is missing")
    raise ExportError(f"{told}; pre-tokenizer, special tokens, start token or chat template are not the model's")


def _tell(tokenizer: Any, index: int) -> str:
    return f"{index} {tokenizer.decode([index])!r}" if 0 <= index < len(tokenizer) else f"{index}"

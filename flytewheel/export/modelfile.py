"""The Modelfile: what Ollama must be told to speak to the GGUF as the model was trained and judged.

Older Ollama does not run a chat template of Jinja: it recognises some by their text and otherwise passes the bare
prompt on, which looks as if the model had become stupid; newer ones run the GGUF's where no TEMPLATE is given. So the
template is written out in Go (`turns` measures it, `go_template` writes it), and where that cannot be done faithfully
there is no TEMPLATE line but a comment with the reason.

The start token: Ollama tokenises the rendered text and lets llama.cpp add one if the GGUF says so. The template here
writes it exactly if the file does not have it added, so that there is one, as in training. Penalties that Ollama would
add by itself (`repeat_penalty`) are switched off, or answers were drawn otherwise than those that were judged.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel.errors import ExportError
from flytewheel.export.go_template import write_go_template
from flytewheel.export.turns import Turns, UnfitError, measure_turns
from flytewheel.modelfile import Modelfile, Value, can_tell

MAX_CONTEXT = 8192  # tokens that are set aside by default; a longer context is the operator's choice

# generation_config's names → Ollama's; each is passed on only if the model's own file gives it.
_SAMPLING = {"temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "min_p": "min_p"}


def write_modelfile(
    path: Path,
    *,
    model_file: str,
    tokenizer: Any,
    context_tokens: int,
    system: str | None = None,
    generation: Mapping[str, Any] | None = None,
    adds_start: bool = False,
    adapters: Sequence[str] = (),
) -> Turns | None:
    """Writes the Modelfile and returns the turns that its TEMPLATE renders; None where it has no such line.

    Args:
        path: Where to.
        model_file: The GGUF's name, beside the Modelfile.
        tokenizer: Its chat template decides TEMPLATE and the stops.
        context_tokens: The longest context of the model.
        system: The system turn of conversations that bring none.
        generation: The model's generation_config, as plain values.
        adds_start: Whether the GGUF has its reader add the start token (`tokenizer.ggml.add_bos_token`).
        adapters: LoRA adapters as GGUF beside the Modelfile.
    """
    generation = generation or {}
    turns, comments = None, []
    try:
        turns = measure_turns(tokenizer)
        if adds_start and tokenizer.bos_token:
            turns = turns.without_start(tokenizer.bos_token)
        comments += [f"TEMPLATE renders plain conversations, no tools; {caveat}." for caveat in turns.caveats]
    except UnfitError as unfit:
        turns = None
        comments.append(
            f"No TEMPLATE: the chat template {unfit}, which Go cannot be told here; a server that reads the template in"
            " the GGUF is right without one."
        )
    if system and not can_tell(system):
        comments.append("No SYSTEM: the recipe's base.system_prompt holds what a Modelfile cannot say; send it along.")
        system = None
    modelfile = Modelfile(
        model=model_file,
        template=None if turns is None else write_go_template(turns),
        system=system,
        parameters=choose_parameters(tokenizer, turns, generation, context_tokens),
        adapters=tuple(adapters),
        comments=tuple(comments),
    )
    path.write_text(modelfile.to_text(), encoding="utf-8", newline="\n")
    return turns


def read_generation(folder: Path) -> dict[str, Any]:
    """The base model's generation_config.json as plain values; empty where it has none.

    Raises:
        ExportError: the file cannot be read.
    """
    try:
        found = json.loads((folder / "generation_config.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ExportError(f"generation_config.json of the base is not readable ({error}); bring it back") from None
    if not isinstance(found, dict):
        raise ExportError("generation_config.json of the base is no JSON object; bring it back")
    return found


def adds_start_token(path: Path) -> bool:
    """Whether the GGUF at `path` has its reader add the start token; unsaid, llama.cpp adds one to SentencePiece."""
    from gguf import GGUFReader

    reader = GGUFReader(path)
    said = reader.get_field("tokenizer.ggml.add_bos_token")
    if said is not None:
        return bool(said.contents())
    kind = reader.get_field("tokenizer.ggml.model")
    return kind is not None and kind.contents() == "llama"


def choose_parameters(
    tokenizer: Any, turns: Turns | None, generation: Mapping[str, Any], context_tokens: int
) -> dict[str, Value]:
    """Ollama's parameters: stops, context, and how the model's own generation_config draws."""
    parameters: dict[str, Value] = {}
    stops = find_stops(tokenizer, turns, generation)
    if stops:
        parameters["stop"] = tuple(stops)
    parameters["num_ctx"] = min(context_tokens, MAX_CONTEXT)
    for theirs, ours in _SAMPLING.items():
        value = generation.get(theirs)
        if isinstance(value, int | float) and not isinstance(value, bool):
            parameters[ours] = value
    penalty = generation.get("repetition_penalty")
    parameters["repeat_penalty"] = penalty if isinstance(penalty, int | float) else 1.0
    return parameters


def find_stops(tokenizer: Any, turns: Turns | None, generation: Mapping[str, Any]) -> list[str]:
    """Texts that end an answer: the end token, generation_config's end tokens, the special token that closes a turn."""
    special = tokenizer.get_added_vocab()
    stops = {tokenizer.eos_token} if tokenizer.eos_token else set()
    ends = generation.get("eos_token_id")
    for index in ends if isinstance(ends, list | tuple) else [ends]:
        if isinstance(index, int) and not isinstance(index, bool) and 0 <= index < len(tokenizer):
            token = tokenizer.convert_ids_to_tokens(index)
            if token in special:  # a word as end token would cut every answer that says it
                stops.add(token)
    for (before, _), step in turns.steps.items() if turns is not None else ():
        if before == "assistant":
            closing = step.text.lstrip()
            stops |= {
                token for token in special if token and closing.startswith(token) and token != tokenizer.bos_token
            }
    return sorted(stop for stop in stops if can_tell(stop))

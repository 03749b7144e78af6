"""The tokenizer as GGUF metadata, in the way that makes llama.cpp give the tokenizer's own ids.

llama.cpp reads no split pattern and no normalizer: it knows a list of names, and a wrong one gives other tokens without
a word. So nothing is looked up here: candidates (`layout`) are written without weights, opened in llama.cpp (`probe`)
and compared on a battery of texts (`battery`); the first that gives the same ids is taken, and without one the export
is refused with the first text that differs (`match`). Special tokens and chat templates: `special` and `chat`.

Measured beside other work: 0.3 s for a vocabulary of 1,024; see docs/adr/0025-vocabulary.md for real ones.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from flytewheel.export.vocabulary.chat import plain_template
from flytewheel.export.vocabulary.match import Match, find_match
from flytewheel.export.vocabulary.special import Specials, find_specials

__all__ = ["Match", "Specials", "find_match", "find_specials", "plain_template", "write_vocabulary"]

logger = logging.getLogger(__name__)


def write_vocabulary(writer: Any, tokenizer: Any, size: int, folder: Path | None = None) -> Match:
    """Writes the tokenizer into a `gguf.GGUFWriter`; returns how, and for which text the ids are the same.

    Args:
        writer: Before its header is written.
        tokenizer: A fast tokenizer of transformers: BPE with a byte-level alphabet or with tokens for bytes.
        size: Rows of the model's embedding; ids without a token are filled up with unused ones.
        folder: The model's, where `tokenizer.model` (scores) and `generation_config.json` (further end tokens) may
            lie; the one that the tokenizer was loaded from when not given. Without, scores come from the merges.

    Raises:
        ExportError: the tokenizer is not one that llama.cpp can be told about, or has more tokens than the model.
    """
    folder = folder or _find_folder(tokenizer)
    specials = find_specials(tokenizer, folder)
    match = find_match(tokenizer, size, specials, folder)
    logger.info("pre-tokenizer %s; same ids for %s", match.layout.pre, "; ".join(match.limits) or "all text")
    if match.ends_missed:
        names = ", ".join(tokenizer.convert_ids_to_tokens(list(match.ends_missed)))
        logger.warning("llama.cpp has no room for all end tokens and does not stop at %s", names)
    match.layout.write(writer)
    specials.write(writer)
    return match


def _find_folder(tokenizer: Any) -> Path | None:
    named = getattr(tokenizer, "name_or_path", None)
    return Path(named) if named and Path(named).is_dir() else None

"""What a file says about whose model it is: its name, and what the base's model card (README.md) says of licence and
ancestors. Keys and their reading are those of `gguf.Metadata`, which llama.cpp's own converter uses, but nothing is
guessed from names of folders: those are paths of this machine, or digests.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

logger = logging.getLogger(__name__)

_CARD_KEYS = ("license", "license_name", "license_link", "base_model", "tags", "pipeline_tag", "language")


def write_identity(writer: Any, folder: Path, name: str) -> None:
    """Writes `general.*` into a `gguf.GGUFWriter`; a card that cannot be read is left out, with a warning.

    Args:
        writer: Before its header is written.
        folder: The base's, where README.md may lie.
        name: `general.name`.
    """
    import gguf
    import yaml

    found = gguf.Metadata(name=name)
    try:
        card = gguf.Metadata.load_model_card(folder)
        told = {key: _read_plain(card[key]) for key in _CARD_KEYS if card.get(key)}
        found = gguf.Metadata.apply_metadata_heuristic(found, {key: value for key, value in told.items() if value})
    except (yaml.YAMLError, ValueError, OSError) as error:  # a card stops no export
        logger.warning(
            "%s: its front matter cannot be read (%s); licence and base model are left out of the file",
            folder / "README.md", " ".join(str(error).split())[:160],
        )  # fmt: skip
    writer.add_type(gguf.GGUFType.MODEL)
    found.set_gguf_meta_model(writer)


def _read_plain(value: Any) -> str | list[str]:
    """Text, or a list of it: what YAML takes for numbers or dates was text in the card, too."""
    if isinstance(value, list):
        return [str(entry) for entry in value if not isinstance(entry, dict | list)]
    return "" if isinstance(value, dict) else str(value)

"""A vocabulary is matched once for each tokenizer and number of rows: these tests are about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.export import convert
from flytewheel.export.vocabulary import Match, write_vocabulary

_written: dict[tuple[int, int], tuple[Any, Match, dict[str, Any]]] = {}


@pytest.fixture(autouse=True)
def remembered_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(writer: Any, tokenizer: Any, size: int, *where: Any) -> Match:
        key = (id(tokenizer), size)
        if key not in _written:
            before = dict(writer.kv_data[0])
            match = write_vocabulary(writer, tokenizer, size, *where)
            added = {name: value for name, value in writer.kv_data[0].items() if name not in before}
            _written[key] = (tokenizer, match, added)  # the tokenizer too, or its id could be another's
        _, match, added = _written[key]
        writer.kv_data[0] |= added
        return match

    monkeypatch.setattr(convert, "write_vocabulary", write)

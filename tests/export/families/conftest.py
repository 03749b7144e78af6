"""A vocabulary is matched once for each tokenizer and number of rows: these tests are about everything else."""

from __future__ import annotations

from typing import Any

import pytest

from flytewheel.export import convert
from flytewheel.export.vocabulary import write_vocabulary

_written: dict[tuple[int, int], tuple[Any, str, dict[str, Any]]] = {}


@pytest.fixture(autouse=True)
def remembered_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    def write(writer: Any, tokenizer: Any, size: int, *where: Any) -> str:
        key = (id(tokenizer), size)
        if key not in _written:
            before = dict(writer.kv_data[0])
            pre = write_vocabulary(writer, tokenizer, size, *where)
            added = {name: value for name, value in writer.kv_data[0].items() if name not in before}
            _written[key] = (tokenizer, pre, added)  # the tokenizer too, or its id could be another's
        _, pre, added = _written[key]
        writer.kv_data[0] |= added
        return pre

    monkeypatch.setattr(convert, "write_vocabulary", write)

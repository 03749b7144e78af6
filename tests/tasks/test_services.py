from __future__ import annotations

import pytest

from tasks.services import name_execution, name_fresh_start


def test_a_fresh_start_is_named_by_its_execution_so_that_a_retry_is_the_same_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("FLYTEWHEEL_FRESH", raising=False)
    assert name_fresh_start() is None
    monkeypatch.setenv("FLYTEWHEEL_FRESH", "1")
    assert name_fresh_start() == name_fresh_start() == name_execution()

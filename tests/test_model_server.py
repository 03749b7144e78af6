"""A client of a model server costs no second reading of who is trusted."""

from __future__ import annotations

import ssl

import pytest

from flytewheel.addresses import OWN
from flytewheel.model_server import ModelServer


@pytest.mark.parametrize("rule", [None, OWN], ids=["any address", "checked addresses"])
def test_clients_share_what_they_trust(rule: object, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[int] = []
    load = ssl.SSLContext.load_verify_locations

    def count(*given: object, **named: object) -> None:
        read.append(1)
        load(*given, **named)  # type: ignore[arg-type]

    ModelServer("http://127.0.0.1:9", kind="vLLM", rule=rule).close()  # type: ignore[arg-type]
    monkeypatch.setattr(ssl.SSLContext, "load_verify_locations", count)
    for url in ("http://127.0.0.1:9", "https://127.0.0.1:9"):
        ModelServer(url, kind="vLLM", rule=rule).close()  # type: ignore[arg-type]
    assert read == []

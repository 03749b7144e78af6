"""The router with one resident base: which versions are served as adapters on it, and experiments on one process."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from router.backends.served import fetch_model
from tests.processes import find_children
from tests.router.live import NOW, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_adapter, write_spelling_model

BASE = "b" * 64


@pytest.fixture(scope="module")
def router(make_router: Callable[[], LiveRouter]) -> LiveRouter:
    router = make_router()
    router.environ |= {"FLYTEWHEEL_BACKEND_MODE": "adapters"}
    return router.start()


def register_base(router: LiveRouter, name: str) -> str:
    file = write_spelling_model(router.home / f"{name}-base.gguf", "plain")
    facts = {"kind": "base", "base_digest": BASE, "serve": "model-F16.gguf"}
    return router.registry.register(
        name, {"model-F16.gguf": file}, facts=facts, key=f"base-{name}", now=NOW, base_version=True
    ).version


def register(router: LiveRouter, name: str, word: str, *, base: str = BASE, kind: str = "F16") -> str:
    """A version that says `word` by its adapter, and `merged` by its merged file."""
    files = {
        "adapter.gguf": write_spelling_adapter(router.home / f"{name}-{word}.lora", "plain", word),
        "model-F16.gguf": write_spelling_model(router.home / f"{name}-{word}.gguf", "merg"),
    }
    facts: dict[str, Any] = {"serve": "model-F16.gguf", "base_digest": base}
    facts["adapter_file"] = {"name": "adapter.gguf", "base_kind": kind}
    return router.registry.register(name, files, facts=facts, key=f"{name}-{word}", now=NOW).version


def said(router: LiveRouter, name: str, user: str = "ada", **options: Any) -> tuple[str, str]:
    answer = router.ask(name, user, **options)
    assert answer.status_code == 200, answer.text
    return answer.json()["choices"][0]["message"]["content"], answer.headers["x-flytewheel-version"]


def test_both_arms_are_served_by_one_process_while_people_go_on_asking(router: LiveRouter) -> None:
    base, one, two = (
        register_base(router, "shared"),
        register(router, "shared", "stable"),
        register(router, "shared", "candy"),
    )
    words = {base: "plain", one: "stable", two: "candy"}
    assert router.send("PUT", "/models/shared/champion", {"version": base}).status_code == 200
    done, wrong = threading.Event(), []

    def ask_on() -> None:
        while not done.is_set():
            word, version = said(router, "shared", "bob")
            if words[version] != word:
                wrong.append((word, version))

    asking = threading.Thread(target=ask_on)
    asking.start()
    try:
        assert said(router, "shared") == ("plain", base)
        assert router.launch("shared", base, one, share=1.0).status_code == 201
        assert said(router, "shared") == ("stable", one)
        assert said(router, "shared", lora=[{"id": 0, "scale": 0.0}]) == ("stable", one)
        assert router.send("PUT", "/models/shared/champion", {"version": one}).status_code == 200
        assert router.launch("shared", one, two, share=1.0, key="second").status_code == 201
        assert said(router, "shared") == ("candy", two)

        def pids() -> set[int]:
            found = [router.backend("shared", version) for version in (base, one, two)]
            assert all(found)
            return {backend["pid"] for backend in found if backend is not None}

        wait_until(lambda: len(pids()) == 1, what="all three are on one process, the last champion as a spare")
        assert router.process is not None
        servers = find_children("flytewheel.llama_server", router.process.pid)
        wait_until(lambda: sum(server.is_running() for server in servers) == 1, what="the older processes ended")
    finally:
        done.set()
        asking.join()
    assert wrong == []
    stored = router.interaction(router.ask("shared").headers["x-flytewheel-interaction"])
    assert stored["model_digest"] == router.registry.show("shared", two).files["adapter.gguf"].sha256


def test_a_version_whose_base_is_not_at_hand_is_served_from_its_merged_file(router: LiveRouter) -> None:
    register_base(router, "apart")
    for word, options in (("stable", {"base": "c" * 64}), ("candy", {"kind": "Q8_0"})):
        version = register(router, "apart", word, **options)
        model = fetch_model(router.registry, router.home / "looked", "apart", version, mode="adapters")
        assert (model.base, model.file and model.file.name) == (None, "model-F16.gguf")
        assert router.send("PUT", "/models/apart/champion", {"version": version}).status_code == 200
        assert said(router, "apart") == ("merg", version)
    kept = register(router, "apart", "fresh")
    model = fetch_model(router.registry, router.home / "looked", "apart", kept, mode="adapters")
    assert (model.base and model.base.name, model.file and model.file.name) == ("model-F16.gguf", "adapter.gguf")
    for mode, kind in (("merged", "llama.cpp"), ("adapters", "ollama")):
        model = fetch_model(router.registry, router.home / "looked", "apart", kept, kind=kind, mode=mode)
        assert (model.base, model.file and model.file.name) == (None, "model-F16.gguf")

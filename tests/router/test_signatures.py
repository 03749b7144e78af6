"""The router serves what a trusted key has signed, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from registry.keys import make_signing_key
from registry.signing import KeySeal
from registry.versions import Registry
from tests.router.live import NOW, LiveRouter, wait_until
from tests.router.spelling_model import write_spelling_model


def test_an_unsigned_version_is_refused_until_it_is_signed(router: LiveRouter, tmp_path: Path) -> None:
    stranger = make_signing_key()
    theirs = KeySeal(signing_key=lambda: stranger, trusted=lambda: [stranger.public])
    before = router.serve("signed", "stable")
    file = write_spelling_model(tmp_path / "model.gguf", "candy")
    for number, seal in enumerate((None, theirs)):
        made = Registry(router.store, seal=seal).register(
            "signed", {"model.gguf": file}, facts={"serve": "model.gguf"}, key=f"{number}", now=NOW
        )
        refused = router.send("PUT", "/models/signed/champion", {"version": made.version})
        assert refused.status_code in (404, 409, 422, 503), refused.text
        assert f"flytewheel models sign signed {made.version}" in refused.text
        assert router.ask("signed").headers["x-flytewheel-version"] == before
        assert not (router.home / "models" / "signed" / made.version).exists()
    assert router.registry.sign("signed", made.version) == made
    assert router.send("PUT", "/models/signed/champion", {"version": made.version}).status_code == 200
    assert router.ask("signed").headers["x-flytewheel-version"] == made.version


def test_an_alias_moved_past_the_registry_to_an_unsigned_version_is_not_followed(
    make_router: Callable[[], LiveRouter], tmp_path: Path
) -> None:
    router = make_router().start()
    before = router.serve("moved-past", "stable")
    file = write_spelling_model(tmp_path / "model.gguf", "candy")
    unsealed = Registry(router.store)
    made = unsealed.register("moved-past", {"model.gguf": file}, facts={}, key="other", now=NOW)
    unsealed.set_alias("moved-past", "champion", made.version)
    log = router.home / "router.log"
    wait_until(lambda: f"{made.version} is not signed, so it is not served" in log.read_text(), what="a line about it")
    assert router.ask("moved-past").headers["x-flytewheel-version"] == before
    router.stop()

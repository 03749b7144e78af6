"""The way back in earnest: a real router with two workers under traffic, taken back by a verdict that only PostgreSQL
is told of. Measured from the commit to the last answer of the canary.
"""

from __future__ import annotations

import tempfile
import threading
import time
from pathlib import Path

import httpx

from benchmarks import Goal
from benchmarks.controller_place import Names, Place
from tests.router import hosting
from tests.router.live import KEY, LiveRouter, wait_until
from tests.services import TestServices

ASKING = 4


def measure_way_back(services: TestServices, count: int) -> list[Goal]:
    """`count` canaries, one after the other, each taken back under traffic."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-way-back-") as folder:
        router = hosting.make_router(services, Path(folder) / "home")
        router.environ["FLYTEWHEEL_WORKERS"] = "2"
        router.start()
        try:
            found = [take_back(router, f"back-{number}") for number in range(count)]
            digests = {digest for (digest,) in router.rows("SELECT DISTINCT body ->> 'model_digest' FROM interactions")}
            registry = router.registry
            known = {each.files["model.gguf"].sha256 for name in registry.names() for each in registry.list(name)}
        finally:
            router.stop()
            router.client.close()
    worst = max(seconds for seconds, _ in found)
    print(f"way back: {count} of two workers under traffic, {sum(answers for _, answers in found):,} answers")
    return [
        Goal("seconds from verdict to the canary's last answer", worst, 10.0),
        Goal("answers of unverified digests", len(digests - known), 0),
    ]


def take_back(router: LiveRouter, name: str) -> tuple[float, int]:
    """Seconds to the last answer of the canary, and how many answers there were."""
    control, treatment = router.serve(name, "stable"), router.register(name, "candy")
    router.launch(name, control, treatment, share=0.5)
    answers: list[tuple[float, str]] = []
    over = threading.Event()
    body = {"model": f"flytewheel/{name}", "messages": [{"role": "user", "content": "Which?"}], "max_tokens": 2}

    def ask(number: int) -> None:
        with httpx.Client(timeout=60, trust_env=False, headers=KEY) as client:
            while not over.is_set():
                user = {"user": f"u{number}-{len(answers)}"}
                answer = client.post(f"{router.url}/v1/chat/completions", json=body | user)
                answers.append((time.monotonic(), answer.headers["x-flytewheel-version"]))

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(ASKING)]
    try:
        for thread in threads:
            thread.start()
        wait_until(lambda: {version for _, version in answers} == {control, treatment}, what="both arms answer")
        ticked = Place(router.database_url, Names(None), name).tick("harm")
        assert ticked.decision == "roll_back", ticked
        verdict = time.monotonic()
        wait_until(lambda: sum(at > verdict + 0.5 for at, _ in answers) > 60, what="answers after the verdict")
    finally:
        over.set()
        for thread in threads:
            thread.join()
    last = max((at for at, version in answers if version == treatment), default=verdict)
    return max(0.0, last - verdict), len(answers)

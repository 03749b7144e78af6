"""The Python clients against a real router."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import openai
import pytest

from flytewheel.client import AsyncClient, Client, RefusedError
from flytewheel.client.events import Retry
from tests.router.live import API_KEY, LiveRouter


@pytest.fixture(scope="module")
def name(router: LiveRouter) -> str:
    router.serve("dropped-in", "stable")
    return "dropped-in"


def test_ask_and_tell(router: LiveRouter, name: str) -> None:
    with Client(router.url, API_KEY) as asking:
        answer = asking.chat(f"flytewheel/{name}", "Which word?", user="dora", temperature=0, max_tokens=64)
        assert answer.text.startswith("stable")
        said = [asking.feedback(answer, "thumbs_up", event_id="drop-1").status for _ in range(2)]
        assert said == ["stored", "duplicate"]
        with pytest.raises(RefusedError) as conflict:
            asking.feedback(answer.interaction_id, "thumbs_down", event_id="drop-1")
        assert conflict.value.status == 409
        batch = asking.feedback_batch(
            [
                {"answer": answer, "feedback_type": "rating", "rating": 4},
                {"answer": "unknown", "feedback_type": "thumbs_up"},
                {"answer": answer, "observed": [{"n": 0, "t": 0, "e": "shown"}, {"n": 1, "t": 11_000, "e": "copy"}]},
            ]
        )
    assert [each.status for each in batch] == ["stored", "refused", "stored"]
    assert batch[1].code == 401
    assert [each["feedback_type"] for each in batch[2].signals] == ["copied"]
    with pytest.raises(RefusedError) as missing, Client(router.url, API_KEY) as asking:
        asking.chat("flytewheel/nobody", "hi")
    assert missing.value.status == 404


def test_ask_with_openais_client_and_tell(router: LiveRouter, name: str) -> None:
    with openai.OpenAI(base_url=f"{router.url}/v1", api_key=API_KEY) as asking, Client(router.url) as telling:
        raw = asking.chat.completions.with_raw_response.create(
            model=f"flytewheel/{name}", messages=[{"role": "user", "content": "Which word?"}], max_tokens=16
        )
        kept = telling.keep(raw.headers)
        assert telling.feedback(kept.interaction_id, "thumbs_down").status == "stored"


def test_ask_and_tell_from_an_event_loop(router: LiveRouter, name: str) -> None:
    async def run() -> list[str]:
        async with AsyncClient(router.url, API_KEY) as asking:
            answer = await asking.chat(f"flytewheel/{name}", [{"role": "user", "content": "Which word?"}])
            said = [asking.feedback(answer, "rating", rating=rating) for rating in (2, 4)]
            results = [*await asyncio.gather(*said)]
            results += await asking.feedback_batch([{"answer": answer, "feedback_type": "thumbs_up"}])
            return [each.status for each in results]

    assert asyncio.run(run()) == ["stored"] * 3


def test_feedback_survives_a_restart_of_the_router(make_router: Callable[[], LiveRouter]) -> None:
    router = make_router().start()
    router.serve("restarted", "stable")
    restarts: list[float] = []

    def restart(wait_s: float) -> None:
        restarts.append(wait_s)
        router.start()

    with Client(router.url, API_KEY, pause=restart, retry=Retry(attempts=3)) as asking:
        answer = asking.chat("flytewheel/restarted", "Which word?", max_tokens=16)
        router.interaction(answer.interaction_id)
        router.stop()
        assert asking.feedback(answer, "thumbs_up").status == "stored"
    assert len(restarts) == 1

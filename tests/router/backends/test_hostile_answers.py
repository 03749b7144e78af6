"""Answers with status 200 that are none: passed on as they are, and counted against whoever gave them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from router.backends.breaker import BreakerRule
from tests.router.backends.test_failing import (
    ANSWER,
    CANARY,
    EVENTS,
    QUICK,
    answer_as_control,
    check_fallback,
    put,
    say,
)
from tests.router.hot_path import HotPath
from tests.router.live import wait_until
from tests.servers.raw import chunked, plain, serving


@pytest.fixture
def hot(database_url: str, tmp_path: Path) -> Iterator[HotPath]:
    with HotPath(database_url, tmp_path, answer_as_control, CANARY) as hot:
        yield hot


HOSTILE = {
    "no JSON": (plain(b"<html>welcome</html>"), False),
    "another's JSON": (plain(b'{"hello": "world"}'), False),
    "a list": (plain(b"[1, 2]"), False),
    "cut JSON": (plain(ANSWER[:40]), False),
    "nothing": (plain(b""), False),
    "no events": (plain(b"<html>welcome</html>", headers="content-type: text/event-stream\r\n"), True),
    "an answer that was not streamed": (plain(ANSWER), True),
    "a stream without an end": (chunked(EVENTS[:1]), True),
    "events that are no JSON": (chunked([b"data: <html>\n\n", *EVENTS]), True),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_200_that_is_no_answer_counts_as_a_failure(hot: HotPath, kind: str) -> None:
    data, stream = HOSTILE[kind]
    with serving(say(data)) as server:
        backend = put(hot, "v2", server.url, replace(QUICK, breaker=BreakerRule(failures=3, pause_s=60)))
        for _ in range(3):
            assert hot.ask({"user": "ada", "stream": stream}).status_code == 200  # what began is passed on as it is
        wait_until(lambda: backend.breaker.state == "open", what="three of them open it")
        check_fallback(hot.ask({"user": "ada", "stream": stream}))
        assert len(server.requests) == 3


def test_a_hostile_200_as_a_trial_opens_it_again_and_a_told_error_does_not_count(hot: HotPath) -> None:
    rule = BreakerRule(failures=1, pause_s=0.1, longest_pause_s=0.1)
    with serving(say(plain(b"<html>"))) as server:
        backend = put(hot, "v2", server.url, replace(QUICK, breaker=rule))
        for opened in (1, 2):
            wait_until(lambda: backend.breaker.state != "open", what="the pause is over")
            hot.ask({"user": "ada"})
            wait_until(lambda opened=opened: backend.breaker.opened == opened, what="it opens")
        wait_until(lambda: backend.breaker.state != "open", what="the pause is over")
        told = b'{"error":{"message":"too long"}}'
        for data, stream in ((told, False), (b"data: %b\n\n" % told, True)):
            server.script = say(plain(data))
            assert "error" in hot.ask({"user": "ada", "stream": stream}).text
            wait_until(lambda: backend.breaker.state == "closed", what="it counts as an answer")
            assert backend.breaker.opened == 2

"""What is kept of texts, and that nothing else of them touches a disk."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.records import TEXT_NOT_KEPT, FeedbackEvent, Interaction, Message, explain_missing_text
from router.log import Log
from router.log.intake import Intake
from router.log.redactor import RedactionError, Redactor
from router.log.texts import drop_texts, list_texts, replace_texts
from tests.curation.windows import curate, make_week, write_window
from tests.processes import find_children
from tests.router.log.stage import Server, ask, event, record, until

SECRETS = {
    "query": "I am reached at maria.quisling@example.org",
    "response": "So maria.quisling@example.org it is, card 4111 1111 1111 1111",
    "context": "Her number: +49 30 901820",
    "history": [{"role": "user", "content": "write to maria.quisling@example.org"}],
    "topic": "maria.quisling@example.org",
    "metadata": {"note": ["maria.quisling@example.org"], "endpoint": "/v1/chat/completions", "tokens": 7},
}
FORBIDDEN = (b"maria", b"4111", b"901820")
AWAY = "postgresql://nobody@127.0.0.1:1/none"


def read_all(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


def find_redacting() -> list[psutil.Process]:
    return find_children("router.log.redacting")


TEXT = st.text(max_size=5)
JSON = st.recursive(
    st.none() | st.integers() | TEXT, lambda it: st.lists(it, max_size=3) | st.dictionaries(TEXT, it, max_size=3),
    max_leaves=6,
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(TEXT, st.none() | TEXT, st.lists(TEXT, max_size=3), st.dictionaries(TEXT, JSON, max_size=3))
def test_texts_go_back_to_where_they_stood(query: str, context: str | None, turns: list[str], metadata: Any) -> None:
    history = [Message(role="user", content=turn) for turn in turns]
    one = record("i", query=query, context=context, history=history, metadata=metadata)
    assert replace_texts(one, list_texts(one)) == one
    marked = replace_texts(one, [f"<{text}>" for text in list_texts(one)])
    assert list_texts({**marked, "metadata": {k: v for k, v in marked["metadata"].items() if k != "text"}}) == [
        f"<{text}>" for text in list_texts({**one, "metadata": {k: v for k, v in metadata.items() if k != "text"}})
    ]


def test_without_texts_ids_figures_and_lengths_are_kept() -> None:
    one = Interaction.model_validate(drop_texts(record("i", arm="control", latency_ms=3.5, session_id="s", **SECRETS)))
    assert (one.query, one.response, one.context, one.history, one.topic) == (TEXT_NOT_KEPT, "", None, (), None)
    assert (one.interaction_id, one.user_id, one.arm, one.latency_ms) == ("i", "ada", "control", 3.5)
    assert one.metadata == {
        "endpoint": "/v1/chat/completions", "tokens": 7, "history_turns": 1, "text": "none", "topic_chars": 26,
        "query_chars": 42, "response_chars": 61, "context_chars": 25,
    }  # fmt: skip
    assert explain_missing_text(one) == "text not kept"
    fields = {"event_id": "e", "interaction_id": "i", "user_id": "ada", "timestamp": one.timestamp}
    said: dict[str, Any] = {"feedback_type": "correction", "corrected_response": "maria", "comment": "m"}
    said["metadata"] = {"count": 2, "x": "m"}
    fix = FeedbackEvent.model_validate(drop_texts(fields | said))
    assert (fix.corrected_response, fix.comment) == (TEXT_NOT_KEPT, None)
    assert fix.metadata == {"count": 2, "text": "none", "comment_chars": 1, "corrected_response_chars": 5}


@pytest.mark.parametrize("text", ["none", "redacted"])
def test_no_byte_of_a_text_that_is_not_kept_touches_a_disk(server: Server, url: str, tmp_path: Path, text: str) -> None:
    async def run() -> None:
        log = Log(url, tmp_path, text=text)
        assert log.put(record("i-1", **SECRETS), "demo")
        assert log.put(record("i-2", query="What is an inode?"), "demo")
        rows = [
            event("e-1", "i-1", comment="ask maria.quisling@example.org", metadata={"count": 2}),
            event("e-2", "i-2", comment="fine"),
        ]
        assert await log.store_events(rows) == ["stored", "stored"]
        await until(lambda: log.state.waiting == 2 and len(list(tmp_path.glob("*.seg"))) == 2, what="all in the spool")
        spool = read_all(tmp_path)
        assert b"i-1" in spool
        assert not [word for word in FORBIDDEN if word in spool]
        await asyncio.to_thread(server.start)
        await until(lambda: ask(url, "SELECT count(*) FROM feedback_events") == [(2,)], what="replayed")
        assert await log.store_events(rows) == ["duplicate", "duplicate"]
        await log.close()

    server.stop()
    asyncio.run(run())
    stored = repr(ask(url, "SELECT body FROM interactions UNION ALL SELECT body FROM feedback_events")).encode()
    assert not [word for word in FORBIDDEN if word in stored]
    assert (b"inode" in stored) is (text == "redacted")
    assert (b"<EMAIL_1>" in stored) is (text == "redacted")
    kept = dict(ask(url, "SELECT interaction_id, body -> 'metadata' ->> 'text' FROM interactions"))
    assert kept == {"i-1": text, "i-2": "none" if text == "none" else None}


def test_what_cannot_be_redacted_is_kept_without_its_text() -> None:
    """A row that the child dies of costs its own text, not the others'."""

    class Dying(Redactor):
        async def redact(self, conversations: Any) -> list[list[str]]:
            if any("poison" in text for texts in conversations for text in texts):
                raise RedactionError("the child died")
            return [[text.upper() for text in texts] for texts in conversations]

    taken: dict[str, Any] = {}

    def take(one: Any, source: str) -> bool:
        taken[one["interaction_id"]] = one["query"]
        return True

    async def run() -> None:
        intake = Intake("redacted", take, redactor=Dying())
        for number in range(9):
            assert intake.put(record(f"i-{number}", query="poison" if number == 4 else "word"), "demo")
        await intake.close(5.0)
        assert intake.stripped == 1

    asyncio.run(run())
    assert taken == {f"i-{number}": TEXT_NOT_KEPT if number == 4 else "WORD" for number in range(9)}


def test_the_child_is_started_anew_when_it_was_killed_and_ends_with_its_parent() -> None:
    async def run() -> None:
        redactor = Redactor(deadline_s=20.0)
        assert await redactor.redact([["no secret"], ["maria.quisling@example.org", "é"]]) == [
            ["no secret"],
            ["<EMAIL_1>", "é"],
        ]
        (child,) = find_redacting()
        os.kill(child.pid, signal.SIGKILL)
        with pytest.raises(RedactionError):
            await redactor.redact([["x"]])
        assert await redactor.redact([["x"]]) == [["x"]]
        await redactor.close()
        assert find_redacting() == []

    asyncio.run(run())


def test_close_keeps_what_was_not_redacted_in_time_without_its_text() -> None:
    class Slow(Redactor):
        async def redact(self, conversations: Any) -> list[list[str]]:
            await asyncio.Event().wait()
            return []

    taken: list[str] = []

    async def run() -> None:
        intake = Intake("redacted", lambda one, source: not taken.append(one["query"]), redactor=Slow())
        assert intake.put(record("i"), "demo")
        await asyncio.sleep(0.05)
        await intake.close(0.1)

    asyncio.run(run())
    assert taken == [TEXT_NOT_KEPT]


def test_curation_counts_rows_without_text_and_learns_from_the_others(tmp_path: Path) -> None:
    said, heard = make_week(users=40, questions=60)
    stripped = [Interaction.model_validate(drop_texts(dict(one))) if n % 3 == 0 else one for n, one in enumerate(said)]
    card = curate(write_window(tmp_path / "window", stripped, heard), tmp_path / "out")
    dropped = next(step.dropped for step in card.steps if step.name == "screen answers")
    assert dropped["text not kept"] >= len(said) // 4
    assert sum(card.counts["sft"].values()) > 20
    assert TEXT_NOT_KEPT.encode() not in read_all(tmp_path / "out")

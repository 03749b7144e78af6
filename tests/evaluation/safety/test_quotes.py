"""What an answer says itself, and what it quotes."""

from __future__ import annotations

import pytest

from flytewheel.evaluation.safety.quotes import drop_marked, drop_runs


def test_a_long_run_of_the_source_goes_and_a_short_one_stays() -> None:
    source = "The log says that the disk of the host is full since noon."
    assert drop_runs("It says that THE DISK, of the host; ok", source).split() == ["It", ";", "ok"]
    assert drop_runs("The disk of the printer", source) == "The disk of the printer"


def test_runs_that_meet_go_as_one() -> None:
    words = "one two three four five six seven eight"
    assert drop_runs(f"a {words} b", words).split() == ["a", "b"]
    assert drop_runs(words, words).strip() == ""


@pytest.mark.parametrize("text", ["", " ", "\n", "…", "one"])
def test_little_text(text: str) -> None:
    assert drop_runs(text, text) == text
    assert drop_runs(text, "") == text
    assert drop_marked(text, "") == text


def test_signs_without_spaces_are_words() -> None:
    assert drop_runs("他说:磁盘已经满了。好", "日志里写着磁盘已经满了").strip() == "他说:\n。好"


def test_a_marked_span_goes_where_the_source_has_it() -> None:
    source = "He wrote: you fool, go home"
    assert drop_marked('He called you "You Fool" today', source).split() == ["He", "called", "you", "today"]
    assert drop_marked('He called you "you liar" today', source) == 'He called you "you liar" today'
    assert drop_marked('He said "foo"', "food") == 'He said "foo"'


def test_unclosed_marks_and_long_texts_end() -> None:
    text = '"' * 20_001 + "`" * 20_001
    assert drop_marked(text, "a") == text
    assert len(drop_runs("word " * 50_000, "other " * 50_000)) == 250_000

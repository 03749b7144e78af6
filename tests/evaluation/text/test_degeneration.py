"""What counts as a degenerate answer; the lists are written by hand, of the kinds that models and people write."""

from __future__ import annotations

import time

import pytest

from flytewheel.evaluation.asking import Reply
from flytewheel.evaluation.text.degeneration import examine, find_markers, is_empty
from flytewheel.loops import is_looping
from flytewheel.records import Message

LOREM = " ".join(f"word{number}" for number in range(150))
LOOPS = [
    "check the log " * 4,
    "Fine, then: " + "no " * 8,
    "abc" * 40,
    "ha" * 60,
    "First look at the queue. " + "Restart it, wait, and look again. " * 4,
    "First open the console and read what it says about the node that failed. " * 3,
    f"{LOREM}. And so it goes on. " + "and on " * 12,
    f"{LOREM} " + "I am sorry, but as a model I cannot. " * 12 + LOREM.upper(),
    "I am a model.\n" * 6,
    "1. Check the log.\n2. Check the log.\n3. Check the log.\n4. Check the log.\n",
    "1. Check the log. 2. Check the log. 3. Check the log. 4. Check the log.",
    "Step 1: check it now\nStep 2: check it now\nStep 3: check it now\nStep 4: check it now\nStep 5: check it now",
    "哈" * 60,
    "请重新启动服务器。" * 8,
    "首先检查日志文件和磁盘空间，然后联系值班人员。" + "请重启服务。" * 10,
    "请重启服务。\n" * 6,
    "お疲れ様でした。" * 6,
    "วันนี้อากาศดี" * 12,
    "안녕하세요 " * 15,
    "Сервер не отвечает. " * 6,
    "हाँ जी " * 16,
    "| 2023 | Yes | No |\n" * 30,
    "```python\nx = 1\n" + "    print(x)\n" * 40,
    '{"a": ' * 40,
    "!" * 300,
]
SOUND = [
    "ok",
    "no no no",
    "abc" * 20,
    "check the log " * 3,
    "1. Check the dashboard. 2. Run the command. 3. Check the dashboard. 4. Run the command.",
    "- apple: red\n- banana: yellow\n- cherry: red\n- plum: blue",
    "- [ ] todo\n- [ ] todo\n- [ ] todo\n- [ ] todo",
    "Title\n" + "-" * 200 + "\nText",
    "| a | b |\n|---|---|\n" + "| 0 | 0 |\n" * 12,
    "| host | state |\n|---|---|\n" + "".join(f"| n{number} | ok |\n" for number in range(30)),
    "for i in range(3):\n    print(i)\n    print(i)\n    print(i)\n    print(i)\n",
    "foo(a);\nfoo(a);\nfoo(a);\nfoo(a);\nfoo(a);",
    "```\n" + "0, 0, 0, 0, 0, 0, 0, 0,\n" * 20 + "```",
    "x = " + "[" + "0, " * 40 + "0]",
    "10.0.0.1\n10.0.0.2\n10.0.0.3\n10.0.0.4\n10.0.0.5",
    "".join(f"2024-01-{day:02} INFO started\n" for day in range(1, 9)),
    "Row, row, row your boat,\nGently down the stream.\nMerrily, merrily, merrily, merrily,\nLife is but a dream.",
    "".join(f"A verse about the {what} of old\nOh, the wild rover\n\n" for what in ("sea", "land", "sky", "sun")),
    "Yes.\nNo.\nYes.\nNo.\nYes.\nNo.",
    "我们首先检查日志，然后检查磁盘，然后检查网络，然后检查数据库，最后重启服务。",
    "哈哈哈哈，好的。",
    LOREM,
]


@pytest.mark.parametrize("answer", LOOPS)
def test_loops_are_found(answer: str) -> None:
    assert is_looping(answer)


@pytest.mark.parametrize("answer", SOUND)
def test_honest_repetition_is_no_loop(answer: str) -> None:
    assert not is_looping(answer)


@pytest.mark.parametrize("answer", ["0 " * 80, "-" * 300, "|\n" * 60, LOREM + " no, that is not it." * 5])
def test_what_repeats_up_to_the_limit_is_a_loop_whatever_it_is(answer: str) -> None:
    assert is_looping(answer, ended=False)


def test_a_long_answer_that_was_cut_is_no_loop() -> None:
    assert not is_looping(LOREM, ended=False)


def test_very_long_texts_take_no_time() -> None:
    began = time.perf_counter()
    assert is_looping(f"{LOREM} " * 500 + "so on and " * 100)
    assert time.perf_counter() - began < 5


@pytest.mark.parametrize("answer", ["", " \n ", "\u200b\ufeff", "\u3164", "\x00"])
def test_nothing_to_see_is_empty(answer: str) -> None:
    assert is_empty(answer)


@pytest.mark.parametrize("answer", ["-", "👍", "?", "是", "0"])
def test_a_sign_is_not_empty(answer: str) -> None:
    assert not is_empty(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "Restart it.<|im_end|>",
        "Restart it.\nuser: and what about the disk?\nassistant: check it",
        "Fine.\nuser\nHow do I do it?\nassistant\nLike this",
        "ok <|eot_id|>",
        "ok</s>",
        "ok [INST] next [/INST]",
        "Yes.\n\n### Instruction:\nWrite more",
        "Yes.\nHuman: thanks a lot",
        "Yes<end_of_turn>",
        "Done.<｜end▁of▁sentence｜>",
        "Hi.\nUser:",
    ],
)
def test_markers_and_made_up_turns_are_found(answer: str) -> None:
    assert find_markers(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "services:\n  app:\n    user: root\n",
        "user: root",
        "```yaml\nuser: root and so on\n```",
        "Use <s>old</s> to strike a word.",
        "The user must log in.",
        "System: Linux",
        "a <| b |> c",
        "## System\nIt runs Linux.",
        "Ask a human: they know more than you do.",
    ],
)
def test_words_that_look_like_markers_are_left_alone(answer: str) -> None:
    assert not find_markers(answer)


def test_a_marker_that_was_asked_about_is_no_leak() -> None:
    assert not find_markers("It ends with <|im_end|>.", "What does <|im_end|> do?")
    assert not find_markers("User: where is it?\nAssistant: over there", "User: hello\nAssistant: hello")


def examine_reply(reply: Reply, reference_tokens: int | None) -> tuple[bool, bool, bool | None]:
    prompt = (Message(role="user", content="How?"),)
    found = examine(reply, "Like this.", prompt, reference_tokens=reference_tokens, max_new_tokens=8)
    return found.empty, found.looping, found.unstopped


def test_an_answer_that_was_cut_did_not_stop_unless_its_reference_would_be_cut_too() -> None:
    cut, marked = Reply("so it goes", 8, ended=False), Reply("so it goes", 8, ended=False, specials=1)
    assert examine_reply(cut, 7) == (False, False, True)
    assert examine_reply(cut, None) == (False, False, True)
    assert examine_reply(cut, 8) == (False, False, None)  # the limit leaves no room for an end token
    assert examine_reply(Reply("so it goes", 4), 8) == (False, False, False)
    assert examine_reply(marked, 8) == (False, False, True)
    assert examine_reply(Reply("", 0), 3) == (True, False, False)

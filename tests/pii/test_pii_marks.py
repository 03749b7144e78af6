"""Where a finder does not look: a mark that every find of its rule holds is missing."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.pii import nationals, patterns, redact_changed, redact_conversations
from flytewheel.pii.redact import _claim
from flytewheel.pii.rules import Finder

_AROUND = st.text("a0Z :-._\n\x00é", max_size=6)
MARKS = {
    "MAC": (patterns._MAC, patterns._MAC_RULE, patterns._MAC_PART),
    "SSN": (patterns._SSN, patterns._SSN_RULE, patterns._SSN_CORE),
    "IBAN": (r"[A-Za-z]{2}[0-9]{2}(?:[ -]{0,2}[A-Za-z0-9]){11}", patterns._IBAN_RULE, patterns._IBAN_BEGUN),
    "PAN": (nationals._PAN, nationals._PAN_RULE, nationals._PAN_CORE),
    "wallet": (
        f"{patterns._BECH32}|{patterns._ETHEREUM}|{patterns._BASE58_WALLET}",
        patterns._WALLET_RULE,
        re.compile(f"[A-Za-z0-9_]{{{patterns._SHORTEST_WALLET}}}"),
    ),
}


@pytest.mark.parametrize("kind", MARKS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_rule_finds_nothing_without_its_mark(kind: str, data: st.DataObject) -> None:
    core, rule, mark = MARKS[kind]
    thing = data.draw(st.from_regex(re.compile(core, re.ASCII), fullmatch=True))
    text = data.draw(_AROUND) + thing + data.draw(_AROUND)
    if rule.search(text):
        assert mark.search(text)


def test_wallets_are_looked_for_in_runs_as_long_as_the_shortest() -> None:
    assert [len(found) for found in patterns._RUNS.findall("tb1qw508d6qejx bc1-x")] == [14, 3, 1]


def test_finders_of_one_rank_take_in_the_order_of_place() -> None:
    """By hand: the second finder's span begins earlier; it yields to the first only where it ranks behind it."""
    first = Finder("PHONE", (), lambda view: iter([(5, 8)]), digits=False)
    second = Finder("PHONE", (), lambda view: iter([(2, 6)]), digits=False)
    beside = Finder("PHONE", (), lambda view: iter([(2, 6)]), digits=False, beside=True)
    other = Finder("IP", (), lambda view: iter([(5, 8)]), digits=False)
    assert _claim("", (first, second)) == [(5, 8, "PHONE")]
    assert _claim("", (first, beside)) == [(2, 6, "PHONE")]
    assert _claim("", (other, beside)) == [(5, 8, "IP")]


def test_only_changed_conversations_are_given() -> None:
    conversations = [["hello"], ["write to jo@example.com", "hello"], [], ["jo@example.com"]]
    changed = redact_changed(conversations)
    assert list(changed) == [1, 3]
    assert changed[1] == (["write to <EMAIL_1>", "hello"], {"EMAIL": 1})
    assert redact_conversations(conversations) == [(["hello"], {}), changed[1], ([], {}), changed[3]]

"""The labelled corpus: every kind found, nothing else; and gate with rules equal to the rules alone."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.pii import judge
from flytewheel.pii import KINDS, find, redact, redact_conversation, redact_conversations
from flytewheel.pii.gate import FEW, choose_finders
from flytewheel.pii.redact import FINDERS, make_plan, make_plans, render
from flytewheel.pii.view import view_text
from tests.pii.pii_corpus import draw_positives, plant
from tests.pii.pii_negatives import draw_negatives


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    drawn = [one.sentence for one in draw_positives(77, 40) + draw_negatives(77, 500)]
    chance = random.Random(3)
    joined = [" ".join(chance.sample(drawn, 3)) for _ in range(200)]
    glued = ["".join(chance.sample(drawn, 2)) for _ in range(200)]
    return drawn + joined + glued


@pytest.mark.parametrize("seed", [5, 6])
def test_recall_and_precision_of_every_kind(seed: int) -> None:
    scores = judge(draw_positives(seed, 60) + draw_negatives(seed, 400), find)
    assert set(scores) == set(KINDS) - {"NAME"}
    short = {kind: (score.recall, score.precision) for kind, score in scores.items()}
    assert all(score.recall >= 0.95 and score.precision >= 0.95 for score in scores.values()), short


def test_ordinary_text_of_operators_stays() -> None:
    false = {one.sentence: redact(one.sentence) for one in draw_negatives(91, 600)}
    changed = {text: out for text, out in false.items() if text != out}
    assert len(changed) <= 6, changed


def test_planted_strings_are_distinct_and_come_out() -> None:
    planted = plant(280, seed=4)
    assert len({one.value for one in planted}) == 280
    assert {one.kind for one in planted} == set(KINDS) - {"NAME"}
    kept = [one for one in planted if one.value in redact(one.sentence)]
    assert len(kept) <= 3, kept


def test_gated_batch_equals_the_rules_alone(sentences: list[str]) -> None:
    assert len(sentences) > FEW
    conversations = [sentences[start : start + 3] for start in range(0, len(sentences), 3)]
    assert redact_conversations(conversations) == [redact_conversation(texts) for texts in conversations]


def test_gate_lets_through_whatever_fuzzed_text_holds(sentences: list[str]) -> None:
    """Pieces cut at any place, glued with marks, other scripts' digits and odd white space."""
    chance = random.Random(8)
    glue = [
        "",
        " ",
        "\n",
        "<EMAIL_3>",
        "\x00",
        "-",
        "(",
        ")",
        "/",
        "٣",
        "\u00a0",
        "_",
        "é",
        "号",
        "\\n",
        "ı",
        "'",
        ":",
        "+",
        "=",
    ]
    texts = []
    for _ in range(2048):
        pieces = []
        for _ in range(chance.randrange(1, 4)):
            one = chance.choice(sentences)
            start = chance.randrange(len(one))
            pieces += [one[start : start + chance.randrange(4, 60)], chance.choice(glue)]
        texts.append("".join(pieces))
    texts = list(dict.fromkeys(texts))
    plans = make_plans(texts)
    for text in texts:
        alone = make_plan(text)
        assert plans.get(text, alone) == alone
        assert alone.found == (text in plans), text


_CUES = (
    "phone", "tel", "tel.", "Handynummer", "telefonü", "тел", "номер", "फ़ोन", "טלפון", "call me",
    "text her back", "contact number", "电话", "전화", "โทร", "SSN", "nhs", "social security", "national id",
    "passport", "bsn", "Steuer-ID", "oib", "егн", "ppsn", "cnpj", "personnummer", "身份证", "driver's license",
    "solana", "card",
)  # fmt: skip
_BESIDE = (
    "", "", "", " ", "\n", ". ", ".", ": ", ":", "\x00", "-", "(", ")", "/", "٣", "\u00a0", "_", "é", "号",
    "\\n", "ı", "+", "=", "!", "?! ", "; ", "..", "“", "–", " is ", " no ", " at the office on ", "#",
    " ext. 5", " is my mobile", " (phone)", ", my cell",
)  # fmt: skip


def _draw_number(chance: random.Random) -> str:
    between = chance.choice(["", " ", "-", ".", "/", " - ", ") ", "(", "))-", "\t", "_", "  ", "\n"])
    digits = [chance.choice("0123456789") + between * (chance.random() < 0.3) for _ in range(chance.randrange(4, 20))]
    return chance.choice(["", "", "+", "00", "0", "(0", "8 ", "+1 ", "1-"]) + "".join(digits) + chance.choice("   AZX")


@pytest.mark.parametrize("seed", [1, 2])
def test_no_gate_keeps_a_text_from_its_finder(sentences: list[str], seed: int) -> None:
    """Each finder by itself: another's find in the same text must not hide that a gate is too narrow."""
    chance = random.Random(seed)
    texts = sentences[:600]  # things of every kind, whole
    for _ in range(3000):
        pieces = []
        for _ in range(chance.randrange(1, 5)):
            one, way = chance.choice(sentences), chance.random()
            start = chance.randrange(len(one))
            cut = one[start : start + chance.randrange(4, 70)]
            pieces += [cut if way < 0.4 else chance.choice(_CUES) if way < 0.65 else _draw_number(chance)]
            pieces += [chance.choice(_BESIDE)]
        texts.append("".join(pieces))
    chosen = {row: finders for row, _, finders in choose_finders(texts, FINDERS)}
    found = {kind: 0 for kind in KINDS if kind != "NAME"}
    for row, text in enumerate(texts):
        for finder in FINDERS:
            if any(True for _ in finder.find(view_text(text))):
                assert finder in chosen.get(row, ()), (finder.kind, text)
                found[finder.kind] += 1
    assert min(found.values()) >= 5, found


@pytest.mark.parametrize(
    "text",
    [
        "тел5551234",  # the number directly behind its cue
        "phone.5551234",
        "phone: ...555123",
        "phone1: 55512345",
        "电话abc 555123",
        "telefonü. 555123",
        "telefonüberwachung. 555123",
        "Call: (030))-12345",
        "call 1415 555-2671 or 1-415-555-2671",
        "0151 2345678 ext. 12 is my mobile",
        "pay to 44AFFq5kSiGBoZ4NMDwYtN18obc8AemS33DBLWs3H7otXft3XjrpDtQGv7SqSsaBYBb98uNbr2VBBEt7f2wfn3RVGQBEP3A now",
        "at fe80:1:2:3:4:5:6:7 and 1::2:3",
        "x 756.1234.5678.97 and 12 34 56",
    ],
)
def test_a_form_at_a_gates_edge_is_the_same_in_a_batch(text: str) -> None:
    batch = [[text], *([f"pod {row} restarts since 2026-05-10 22:55"] for row in range(2 * FEW))]
    assert redact_conversations(batch)[0] == redact_conversation([text])


def test_redacting_twice_changes_nothing_more(sentences: list[str]) -> None:
    once = [redact(text) for text in sentences]
    assert [redact(text) for text in once] == once


_SENTENCES = [one.sentence for one in draw_positives(78, 20)]


@given(
    st.lists(st.one_of(st.sampled_from(_SENTENCES), st.text(max_size=20)), max_size=5), st.sampled_from(["", " ", "-"])
)
@settings(max_examples=200, deadline=None)
def test_any_text_twice_is_the_same(texts: list[str], glue: str) -> None:
    once, _ = redact_conversation([glue.join(texts), *texts])
    assert redact_conversation(once)[0] == once


def test_pieces_and_things_of_a_plan_give_the_text_back(sentences: list[str]) -> None:
    for text in sentences[:200]:
        plan = make_plan(text)
        whole = plan.pieces[0] + "".join(
            thing.literal + piece for thing, piece in zip(plan.things, plan.pieces[1:], strict=True)
        )
        assert whole == text
        assert render([plan])[0][0] == redact(text)

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.groundedness import PRECISION, RECALL, judge, measure_simulated, wilson
from benchmarks.groundedness_cases import read_cases
from flytewheel.evaluation.groundedness.support import Context, check
from tests.evaluation.groundedness.texts import TEXTS

RUNBOOK = (
    "Runbook billing-api, slow queries: run `dbctl add-replica <service> --size 2 --zone eu` and wait 90 minutes. "
    "Restart: kubectl -n prod get pods. Limit 4 GB, 1,200.50 EUR a month, 2.97 on average, v2.3.1. "
    "Meet on 3 March 2026 at 14:30. Owners: Anna Schmidt, Peter Weber of the National Payments Council; the rate is "
    "50 %. Ask in #billing-oncall; files in /etc/app/main.conf; set client.max_retries. Note: “Do not drive”. "
    "Call 13912345678 or 0171 555 0142, parcel 00340434161094042557; see example.com/help."
)
ASKED = "billing-api is slow in eu, order 20931"


def find_unsupported(answer: str) -> list[str]:
    return [span.text for span in check(answer, (RUNBOOK, ASKED)).unsupported]


@pytest.mark.parametrize(
    "answer",
    [
        "It takes 1.5 hours, i.e. 1 hour and 30 minutes.",
        "It takes 1 h 30 min.",
        "You have 4096 MB.",
        "It costs €1.200,50, about 1,200 EUR.",
        "The average is about 3.",
        "Be there on March 3rd at 2:30 pm.",
        "Be there on 03.03.2026, 14:30.",
        "Half means 50 percent, ５０％.",
        "Version 2.3.1 is fine.",
        "Run `dbctl add-replica billing-api --size 2 --zone eu`.",
        "Run dbctl add-replica billing-api --zone eu --size=2 and wait.",
        "Run `dbctl add-replica billing-api`.",
        "Use `kubectl get pods -n prod`.",
        "Use `dbctl add-replica <name> --size 2 --zone eu`.",
        "Ask **Anna Schmidt's** team or SCHMIDT; Weber knows, and the NPC too.",
        "Schreiben Sie an Frau Schmidt oder an Peter Webers Leute.",
        "Ask in #billing-oncall about `billing-api`, `main.conf` or max_retries.",
        'It says "do not drive".',
        "About order #20931.",
        "Call 13912345678 about parcel 00340434161094042557, or 01715550142.",
        "See https://www.example.com/help; roughly 1.2k EUR.",
    ],
)
def test_what_the_context_holds_in_another_form_is_supported(answer: str) -> None:
    assert find_unsupported(answer) == []


@pytest.mark.parametrize(
    ("answer", "unsupported"),
    [
        ("It takes 90 seconds.", ["90 seconds"]),
        ("It takes 91 minutes.", ["91 minutes"]),
        ("The average is 3.", ["3"]),
        ("It costs about 1,300 EUR.", ["1,300 EUR"]),
        ("Seven months are 8,403.50 EUR.", ["Seven months", "8,403.50 EUR"]),
        ("Be there on 3 April 2026 at 2:30 am.", ["3 April 2026", "2:30 am"]),
        ("Be there on 3 March 2025.", ["3 March 2025"]),
        ("Run `dbctl drop-replica billing-api`.", ["dbctl drop-replica billing-api"]),
        ("Run `dbctl add-replica ledger-db`.", ["dbctl add-replica ledger-db"]),
        ("Run `dbctl add-replica billing-api --zone eu`.", ["dbctl add-replica billing-api --zone eu"]),
        ("Run `sudo kubectl get pods -n prod`.", ["sudo kubectl get pods -n prod"]),
        ("Run `kubectl get pods -n prod --force`.", ["kubectl get pods -n prod --force"]),
        ("Ask Anna Weber.", ["Anna Weber"]),
        ("Ask Anna Smith.", ["Anna Smith"]),
        ("Ask in #biling-oncall, or `billing-apis`.", ["#biling-oncall", "billing-apis"]),
        ("See /etc/app/main.cfg and /app/main.conf.", ["/etc/app/main.cfg", "/app/main.conf"]),
        ('It says "do not drive fast".', ["do not drive fast"]),
        ("Version 2.3.11 it is.", ["2.3.11"]),
        ("A day has 24 hours.", ["24 hours"]),
        ("Call 13912345679 about parcel 00340434161094024557.", ["13912345679", "00340434161094024557"]),
        ("Call 0171 555 0143.", ["0171 555 0143"]),
    ],
)
def test_near_misses_sums_and_common_knowledge_are_not(answer: str, unsupported: list[str]) -> None:
    assert find_unsupported(answer) == unsupported


def test_values_of_two_flags_may_not_be_swapped() -> None:
    context = ("scalectl set app --min 2 --max 9",)
    assert not check("`scalectl set app --max 9 --min 2`", context).unsupported
    assert check("`scalectl set app --min 9 --max 2`", context).unsupported


def test_a_context_without_words_supports_nothing() -> None:
    assert len(check("Ask Maria Lopez at 5 pm.", ()).unsupported) == 2
    assert len(check("Ask Maria Lopez at 5 pm.", ("",)).unsupported) == 2
    assert check("", (RUNBOOK,)).spans == ()


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_an_answer_copied_from_the_context_is_supported(text: str) -> None:
    assert check(text, (text,)).unsupported == ()


@given(st.lists(TEXTS, min_size=1, max_size=5), st.data())
@settings(max_examples=100, deadline=None)
def test_a_paragraph_of_the_context_is_supported(parts: list[str], data: st.DataObject) -> None:
    """Marks that are never closed reach over paragraphs in no reading, so a paragraph reads alike alone."""
    clean = [part.replace("\n", " ").replace("`", "").replace('"', "") for part in parts]
    chosen = data.draw(st.sampled_from(clean))
    assert check(chosen, ("\n\n".join(clean),)).unsupported == ()


@given(TEXTS, TEXTS, TEXTS)
@settings(max_examples=150, deadline=None)
def test_more_context_takes_no_support_away(answer: str, context: str, more: str) -> None:
    before = set(check(answer, (context,)).unsupported)
    assert set(check(answer, (context, more)).unsupported) <= before


def test_the_held_out_half_keeps_the_goals() -> None:
    scores = judge(list(read_cases("heldout")))["all"]
    assert scores.precision >= PRECISION
    assert scores.recall >= RECALL
    assert scores.labelled >= 100


def test_wrong_answers_of_the_simulated_world_are_found() -> None:
    assert all(goal.holds for goal in measure_simulated(60))


def test_wilson_by_hand() -> None:
    """9 of 10 at z = 2: middle (0.9 + 0.2) / 1.4 = 0.7857, half sqrt(0.009 + 0.01) * 2 / 1.4 = 0.1969."""
    assert wilson(9, 10, z=2.0) == pytest.approx((0.5888, 0.9826), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


def test_a_long_context_is_read_in_time() -> None:
    begun = time.process_time()
    context = Context(["Ask Maria Lopez about billing-api within 30 days. " * 8_000])
    assert not check("Ask Maria Lopez within a month, no, 30 days.", context).unsupported
    assert time.process_time() - begun < 30

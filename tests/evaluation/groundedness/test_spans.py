from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flytewheel.evaluation.groundedness.spans import KINDS, find_spans
from tests.evaluation.groundedness.texts import TEXTS


def list_spans(text: str, kind: str) -> list[str]:
    return [span.text for span in find_spans(text) if span.kind == kind]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("It costs $1,200.50, or 1.200,50 €.", ["$1,200.50", "1.200,50 €"]),
        ("Wait 1½ hours, then 90 min or 1 h 30 min.", ["1½ hours", "90 min", "1 h 30 min"]),
        ("On 3 March 2026 at 2:30 p.m., room 12.", ["3 March 2026", "2:30 p.m.", "12"]),
        ("Die Frist beträgt vierzehn Tage, also bis 28.11.2026.", ["vierzehn Tage", "28.11.2026"]),
        ("Il faut quatre-vingt-dix euros et 5 %.", ["quatre-vingt-dix euros", "5 %"]),
        ("Son treinta y dos minutos.", ["treinta y dos minutos"]),
        ("费用为300元，需要三天。", ["300元", "三天"]),
        ("料金は１４,７２０円です。", ["１４,７２０円"]),
        ("The third replica failed, twenty-one did not.", ["third", "twenty-one"]),
        ("Version 2.3.1 needs 1 000 000 rows.", ["2.3.1", "1 000 000"]),
        ("Call +49 30 1234567 now.", ["+49 30 1234567"]),
    ],
)
def test_numbers_with_their_units(text: str, numbers: list[str]) -> None:
    assert list_spans(text, "number") == numbers


@pytest.mark.parametrize(
    "text",
    [
        "1. Open it.\n2. Close it.\n3) Done.",
        "**1.** Open it. 2. Close it. As in step 3, we support you 24/7 [1].",
        "Schritt 2: Fenster öffnen.",
        "One of them failed; no one knows.",
        "Three steps:\n- open\n- close\n- done",
        "First, stop. Third, start.",
        "(1) open it, (2) close it",
    ],
)
def test_markers_and_small_talk_are_no_numbers(text: str) -> None:
    assert list_spans(text, "number") == []


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Please ask Maria Lopez of the Payments Team.", ["Maria Lopez", "Payments Team"]),
        ("Contact Anna Schmidt. Restart it.", ["Anna Schmidt"]),
        ("The owner is **Phoenix**, not Stripe's team.", ["Phoenix", "Stripe's"]),
        ("Pfizer makes it. Everything is fine on Monday. I agree.", ["Pfizer"]),
        ("Rufen Sie Frau Weber an, das Team hilft bei Fragen zu Ihrer Rechnung.", ["Weber"]),
        ("Prenez l'Augmentin, dit Mme Laurent.", ["Augmentin", "Laurent"]),
        ("请联系王经理，他用 Kubernetes。", ["王经理", "Kubernetes"]),
        ("佐藤さんに聞いてください。", ["佐藤さん"]),
        ("## Next Steps For You\nRestart The", []),
        ("DO NOT restart. IMPORTANT: the CPU is busy.", []),
    ],
)
def test_names_inside_sentences(text: str, names: list[str]) -> None:
    assert list_spans(text, "entity") == names


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("Run `kubectl get pods -n prod` now.", ["kubectl get pods -n prod"]),
        (
            "```bash\n$ systemctl restart nginx\n# a comment\ndocker ps -a\n```",
            ["systemctl restart nginx", "docker ps -a"],
        ),
        ("Then run dbctl kill-idle billing-api and check.", ["dbctl kill-idle billing-api"]),
        ("queuectl scale x-worker --consumers 8, then wait.", ["queuectl scale x-worker --consumers 8"]),
        ("Use git push origin main to publish; make sure that it works.", ["git push origin main"]),
        ("Pass --dry-run or -v first.", ["--dry-run", "-v"]),
        ("Docker containers are fine, and git is a tool. I find the test good.", []),
    ],
)
def test_commands_in_code_and_in_prose(text: str, commands: list[str]) -> None:
    assert list_spans(text, "command") == commands


@pytest.mark.parametrize(
    ("text", "identifiers"),
    [
        ("Set max_retries and userName in src/app/main.py.", ["max_retries", "userName", "src/app/main.py"]),
        ("Ask in #ops-general, @tom-w or a.b@example.com.", ["#ops-general", "@tom-w", "a.b@example.com"]),
        ("See (https://example.com/a_(b)?x=1).", ["https://example.com/a_(b)?x=1"]),
        ("billing-api fails with PAY-4012 on 10.0.0.7:5432.", ["billing-api", "PAY-4012", "10.0.0.7:5432"]),
        ("commit 9f3c2ab, 0f8fad5b-d9cb-469f-a165-70867728950e", ["9f3c2ab", "0f8fad5b-d9cb-469f-a165-70867728950e"]),
        ("A well-known, read-only and on-call thing, e.g. and/or, i.e. 30s or 4GB.", []),
        ("The file `app.log` and the word `admin`.", ["app.log", "admin"]),
        ("重启billing-api服务", ["billing-api"]),
    ],
)
def test_identifiers_by_form(text: str, identifiers: list[str]) -> None:
    assert list_spans(text, "identifier") == identifiers


@pytest.mark.parametrize(
    ("text", "quotes"),
    [
        ('It says "do not drive" and “take food”.', ["do not drive", "take food"]),
        ("Il dit « non remboursable », er sagt „sofort gültig“.", ["non remboursable", "sofort gültig"]),
        ("標語は「安全第一」です。", ["安全第一"]),
        ("It's Anna's and the users' 'very own' thing; don't.", ["very own"]),
        ('A 5" disk, "never closed', []),
    ],
)
def test_quotes_without_apostrophes(text: str, quotes: list[str]) -> None:
    assert list_spans(text, "quote") == quotes


@given(TEXTS)
@settings(max_examples=150, deadline=None)
def test_positions_slice_to_the_text_and_nothing_overlaps(text: str) -> None:
    spans = find_spans(text)
    assert all(text[span.start : span.end] == span.text and span.text and span.kind in KINDS for span in spans)
    assert all(one.end <= two.start for one, two in itertools.pairwise(spans))


@given(st.text(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_text_is_read(text: str) -> None:
    assert all(text[span.start : span.end] == span.text for span in find_spans(text))


@pytest.mark.parametrize(
    "text", ["3 aprıl 2026", "am frıday", "the fıfth one", "ſept 3", "٣ days", "5 Kg", "\ud800 5", "\x00"]
)
def test_letters_that_only_look_alike_are_read(text: str) -> None:
    assert all(text[span.start : span.end] == span.text for span in find_spans(text))


HOSTILE: dict[str, Callable[[int], str]] = {
    "spaces": lambda size: "a." + " " * size,
    "lines": lambda size: "\n" * size,
    "digits": lambda size: "1" * size,
    "groups": lambda size: "123 " * (size // 4),
    "points": lambda size: "a." * (size // 2),
    "hyphens": lambda size: "a-" * (size // 2),
    "ticks": lambda size: "`a " * (size // 3),
    "quotes": lambda size: " 'a" * (size // 3),
    "fences": lambda size: "```\n" * (size // 4),
    "capitals": lambda size: "Ab " * (size // 3),
    "accents": lambda size: "a" + "\u0301" * size,
    "stars": lambda size: "*" * size,
    "noise": lambda size: "".join(random.Random(1).choices("aA1 .,'\"`-_/#@$€\n:()[]{}<>*", k=size)),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_time_grows_with_the_length(name: str) -> None:
    """Eight times the text takes about eight times as long: quadratic would be 64."""

    def take(size: int) -> float:
        begun = time.process_time()
        find_spans(HOSTILE[name](size))
        return time.process_time() - begun

    short, long = (min(take(size) for _ in range(3)) for size in (3_000, 24_000))  # the least is of a quiet moment
    assert long < 24 * short + 0.5

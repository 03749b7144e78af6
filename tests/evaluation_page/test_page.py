"""The page as text: what stands on it, in which order, and that nothing of a model or a person is markup."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from flytewheel.evaluation_page.details import draw_value
from flytewheel.evaluation_page.figures import describe_rule, draw_interval
from flytewheel.evaluation_page.page import draw_deck, draw_page, write_page
from flytewheel.evaluation_page.subject import Subject, read_figures, read_interval, show_interval, show_number
from flytewheel.evaluation_page.topics import read_topics
from flytewheel.evaluation_page.verdict import explain, group_reasons
from tests.evaluation_page.made import RULES, VERDICT, answer, case, evaluation, figure, subject, topic_row

ORDER = ("verdict", "figures", "topics", "answers", "regressions", "details", "training", "origin")
HOSTILE = "</div><script>window.hit=1</script><img src=x onerror=window.hit=1>\"'&\u202e\ud800\x00"


def text_of(html: str) -> str:
    return re.sub(r"\s+", " ", re.sub("<[^>]*>", " ", html))


def well_formed(html: str) -> ElementTree.Element:
    """What every element that is opened is closed in; chokes on an `&` or `<` that is none."""
    return ElementTree.fromstring(f"<div>{html}</div>")


def test_the_verdict_stands_before_everything_and_the_order_is_kept() -> None:
    page = draw_deck(subject())
    well_formed(page)
    assert tuple(re.findall(r'<h2 id="(\w+)"', page)) == ORDER
    assert set(re.findall(r'href="#(\w+)"', page)) == set(ORDER[1:])
    assert re.search(r'class="stamp">.*?✖</span> Reject</p>', page)
    assert page.index('class="stamp"') < page.index("<nav") < page.index("<table")


def test_the_page_loads_nothing_and_runs_nothing() -> None:
    page = draw_page(subject())
    assert page.startswith("<!doctype html>")
    assert "default-src 'none'; style-src 'unsafe-inline'" in page
    assert not re.search(r"<script|<link|<iframe|<img|src=|url\(|@import|javascript:", page)
    assert set(re.findall(r'href="([^"]*)"', page)) == {f"#{name}" for name in ORDER[1:]}


@pytest.mark.parametrize(
    ("decision", "sign", "words"),
    [("promote_to_canary", "✔", "Promote to canary"), ("hold", "❚❚", "Hold"), ("reject", "✖", "Reject")],
)
def test_each_decision_has_a_word_and_a_sign_of_its_own(decision: str, sign: str, words: str) -> None:
    page = draw_deck(subject(verdict={**VERDICT, "decision": decision}))
    assert f'<p class="stamp"><span aria-hidden="true">{sign}</span> {words}</p>' in page


def test_one_sentence_says_why() -> None:
    assert explain(subject()) == (
        "3 reasons speak against it: regressions, degenerate share, regression cases that passed before and fail now."
    )
    held = {"decision": "hold", "reasons": ["cannot tell: bleu 1; x", "for: rouge_l 1; y"]}
    assert (
        explain(subject(verdict=held)) == "Nothing that was asked is clearly worse, but one thing cannot be told: bleu."
    )
    promoted = {"decision": "promote_to_canary", "reasons": ["for: rouge_l 1; y", "for: bleu 2; z"]}
    assert explain(subject(verdict=promoted)) == "Everything that was asked holds: rouge l, bleu."
    assert explain(subject(verdict=held, evaluation=evaluation(unchanged=True))).startswith(
        "Candidate and champion are"
    )
    assert explain(subject(verdict=None)) == "These are the figures; the gate has not weighed them."


def test_every_reason_is_shown_in_its_group() -> None:
    groups = group_reasons(VERDICT["reasons"])
    assert {kind: len(reasons) for kind, reasons in groups.items()} == {"against": 3, "cannot tell": 2, "for": 3, "": 1}
    page = draw_deck(subject())
    said = text_of(page)
    for reason in VERDICT["reasons"]:
        told = re.sub("^(for|against|cannot tell): ", "", reason).replace("'", "&#x27;")
        assert told in said, reason
    assert [f"{title} ({n})" in page for title, n in (("Against", 3), ("Cannot tell", 2), ("For", 3))] == [True] * 3
    assert group_reasons(["formally: x", "for", "against : y"])[""] == ["formally: x", "for"]


def test_a_persons_override_comes_first_and_counts() -> None:
    override = {"by": "Ada", "reason": "the loop is known", "decision": "promote_to_canary", "verdict": "reject"}
    report = {**VERDICT, "decision": "promote_to_canary", "verdict": "reject", "override": override}
    page = draw_deck(subject(verdict=report))
    assert "✔</span> Promote to canary" in page
    assert "Ada decided: Promote to canary, because: the loop is known. The gate had said: Reject." in page
    assert "3 reasons speak against it" in page
    short = {"decision": "hold", "verdict": "reject", "override": {"by": "Ann <a>"}, "reasons": []}
    assert "Ann &lt;a&gt; decided: Hold. The gate had said: Reject." in draw_deck(subject(verdict=short))
    assert "decided" not in draw_deck(subject(verdict={**VERDICT, "verdict": "reject", "override": None}))


def test_figures_that_are_unknown_are_never_numbers() -> None:
    metrics = {
        "f1": figure(math.nan, 1.0), "f2": figure(None, None), "f3": figure(math.inf, 1.0), "f4": {},
        "f5": {"difference": {"estimate": 1.0, "low": 2.0, "high": 0.0}, "rows": math.nan},
    }  # fmt: skip
    page = draw_deck(Subject(evaluation={"metrics": metrics, "counts": {"x": None, "y": math.nan}}))
    rows = re.findall('<tr><th scope="row">f[1-5]<.*?</tr>', page)
    assert len(rows) == 5
    assert all("cannot tell" in row or "[?]" in row for row in rows)
    assert all("▲" not in row and "▼" not in row and "<svg" not in row for row in rows)
    assert not re.search(r"(?i)\b(nan|inf|none)\b", text_of(page.split('id="figures"')[1]))
    assert page.count("<b>cannot tell</b>") == 2


def test_better_and_worse_follow_the_good_direction_and_the_interval() -> None:
    found = {each.name: each.standing for each in read_figures(subject())}
    assert found == {
        "perplexity": "better", "preference_accuracy": "better", "win_rate": "better", "degenerate_share": "worse",
        "regression_pass_rate": "no difference shown", "rouge_l": "no difference shown", "bleu": "no difference shown",
        "chrf": "cannot tell", "length_ratio": "differs",
    }  # fmt: skip


def test_a_forest_plot_has_zero_margin_interval_and_direction() -> None:
    """Perplexity 1.31 against 1.62, 5 % tolerated: the limit lies at +0.081, to the right of zero, in a reach of
    ±0.37·1.12.
    """
    plots = {each.name: draw_interval(each) for each in read_figures(subject())}
    drawn = well_formed(plots["perplexity"])[0]
    assert drawn.get("aria-label") == (
        "perplexity: difference −0.310 [−0.370, −0.250], less is better; tolerated up to +0.081"
    )
    places = {part.get("class"): float(part.get("d", "M0 ")[1:].split()[0]) for part in drawn.findall("path")}
    reach, width = 0.37 * 1.12, 270 - 16
    assert places["zero"] == pytest.approx(8 + width / 2)
    assert places["lim"] == pytest.approx(8 + width * (0.081 + reach) / (2 * reach), abs=0.06)
    assert places["bar"] == pytest.approx(8 + width * (-0.37 + reach) / (2 * reach), abs=0.06)
    assert "← better" in plots["perplexity"]
    assert "better →" in plots["rouge_l"]
    assert 'class="lim"' not in plots["rouge_l"]
    assert "the candidate itself" in plots["win_rate"]
    assert "better" not in re.sub('<title>.*?</title>|aria-label="[^"]*"', "", plots["length_ratio"])
    assert plots["chrf"] == ""


def test_rules_and_numbers_are_said_in_words() -> None:
    assert describe_rule({"max_worsening": 0.05}) == "may worsen by 5 % of the champion's"
    assert describe_rule({"improve": True, "max": 3}) == "must improve; at most 3"
    assert describe_rule({"improve": False, "max": None}) == ""
    assert [show_number(value) for value in (0.0, -0.5, 1234.5, 123.456, 0.0001, 1e9, None)] == [
        "0.000", "−0.500", "1,234" if f"{1234.5:,.0f}" == "1,234" else "1,235", "123.5", "1.00e−04", "1.00e+09",
        "cannot tell",
    ]  # fmt: skip
    assert show_interval(read_interval({"estimate": True, "low": 0, "high": 1})) == "cannot tell"


def test_topics_are_shown_worst_first_and_without_them_it_is_said() -> None:
    page = draw_deck(subject())
    heat = page.split('id="topics"')[1].split("</section>")[0]
    assert re.findall('<th scope="row" dir="auto">(.*?)</th>', heat) == ["certificates", "escalation", "queue", "disk"]
    assert "Clearly worse: certificates (rouge l), certificates (win rate)." in heat
    assert "Too few users to tell (it takes 8): on-call rota." in heat
    assert heat.count("▼") == 2
    assert heat.count("▲") == 3
    details = {key: value for key, value in evaluation()["details"].items() if key != "topics"}
    assert "no figures by topic" in draw_deck(subject(evaluation=evaluation(details=details)))


@pytest.mark.parametrize(
    "rows", [None, "x", [None, 3, {}], [{"topic": None, "difference": {"estimate": math.nan}}], {"rows": 1}]
)
def test_odd_topics_do_not_break_the_page(rows: Any) -> None:
    for details in ({"topics": {"rows": rows}}, {"topics": rows}, {"suite": rows}, {"groundedness": rows}, rows):
        well_formed(draw_deck(subject(evaluation=evaluation(details=details))))


def test_details_are_tables_lists_and_facts_whatever_they_hold() -> None:
    page = draw_deck(subject()).split('id="details"')[1].split("</section>")[0]
    assert re.findall("<h3>(.*?)</h3>", page) == ["groundedness", "safety"]  # topics and suite have parts of their own
    assert '<td data-head="kind" dir="auto">commands</td>' in page
    assert "0.943" in page
    deep: Any = "end"
    for _ in range(60):
        deep = {"inner": deep}
    for value in (deep, [[]], [{}], [{"a": [1, {"b": None}]}, {"c": math.nan}], {}, True, "x" * 9999, [[1, 2], [3]]):
        assert len(draw_value(value)) < 6000
        well_formed(draw_value(value))
    assert draw_value({"estimate": 0.5, "low": 0.4, "high": 0.6}) == "0.500 [0.400, 0.600]"
    assert draw_value([{"n": index} for index in range(1000)]).count("<tr>") == 41
    assert "and 960 more" in draw_value([{"n": index} for index in range(1000)])


def test_the_evaluations_own_word_on_a_topic_counts_before_the_interval() -> None:
    """One interval of many is wider than it looks: the evaluation has counted its claims."""
    row = topic_row("disk", "rouge_l", 0.52, 0.44, 0.05)
    for verdict, standing in (("cannot tell", "cannot tell"), ("worse", "worse"), ("", "better"), ("odd", "better")):
        kept = {"topics": {"rows": [{**row, "verdict": verdict}]}}
        (found,) = read_topics(subject(evaluation=evaluation(details=kept)))
        assert found.standing == standing


def test_long_texts_in_details_are_folded_below_one_another() -> None:
    worst = {"id": "row-7", "candidate": "x" * 400, "spans": [{"kind": "numbers", "text": "12"}]}
    drawn = draw_value({"worst": [worst]})
    well_formed(drawn)
    assert "<summary><bdi>row-7</bdi></summary>" in drawn
    assert '<td data-head="kind" dir="auto">numbers</td>' in drawn


def test_cases_that_were_asked_more_than_once_say_how_often_they_passed() -> None:
    sampled = {**case("c1", passes=False), "samples": 5, "candidate_passed": 1, "champion_passed": 5}
    page = draw_deck(subject(evaluation=evaluation(details={}), answers=[sampled]))
    assert "▼ fails now, 1 of 5 times; the champion 5" in page


def test_cases_that_changed_sides_are_shown_with_what_was_said() -> None:
    part = draw_deck(subject()).split('id="regressions"')[1].split("</section>")[0]
    failing, passing = part.index("Fail now, passed before (1)"), part.index("Pass now, failed before (1)")
    assert failing < part.index("case-runbook") < passing < part.index("case-secret")
    assert "runbook of the billing service" in part
    assert "any runbook" in text_of(part)
    plain = subject(evaluation=evaluation(details={}), answers=[case("c1", passes=False)])
    assert "Fail now, passed before (1)" in draw_deck(plain)
    many = [f"case-{number}" for number in range(50)]
    listed = draw_deck(subject(evaluation=evaluation(details={"suite": {"newly_failing": many}}), answers=[]))
    assert "and 30 cases more" in listed
    assert "What was said was not kept." in listed


def hostile_subject() -> Subject:
    """Hostile text wherever a text may come from people, models, recipes or file names."""
    lines = [
        {**answer(f"a{number}{HOSTILE}", HOSTILE * (number + 1), f"x{HOSTILE}", HOSTILE, topic=HOSTILE, asked=HOSTILE)}
        for number in range(8)
    ]
    lines.append({**case(f"c{HOSTILE}", passes=False), "expected": HOSTILE, "check": HOSTILE, "candidate": HOSTILE})
    found = evaluation(
        notes=[HOSTILE], dataset=HOSTILE, device=HOSTILE, champion=HOSTILE, counts={HOSTILE: 3}, skipped={HOSTILE: 1}
    )
    found["metrics"] = {HOSTILE: figure(0.1, 0.2)}
    found["details"] = {
        HOSTILE: {HOSTILE: [{HOSTILE: HOSTILE}], "x": HOSTILE},
        "topics": {"rows": [{"topic": HOSTILE, "figure": HOSTILE, "verdict": HOSTILE, "difference": {}}]},
        "suite": {"newly_failing": [f"c{HOSTILE}"]},
    }
    verdict = {
        "decision": HOSTILE, "reasons": [HOSTILE, f"against: {HOSTILE}"],
        "override": {"by": HOSTILE, "reason": HOSTILE, "decision": HOSTILE},
    }  # fmt: skip
    return Subject(
        evaluation=found, answers=lines, verdict=verdict, rules={HOSTILE: {"max_worsening": 0.1}}, candidate=HOSTILE,
        champion=HOSTILE, trainings={HOSTILE: {"curve": [{"step": 1, "loss": 1.0}]}}, origin=((HOSTILE, HOSTILE),),
        commands=((HOSTILE, HOSTILE),),
    )  # fmt: skip


def test_hostile_text_is_text() -> None:
    page = draw_page(hostile_subject())
    assert page.encode()
    assert "<script" not in page
    assert "<img" not in page
    assert "\x00" not in page
    part = draw_deck(hostile_subject())
    well_formed(part)
    assert "\u202e" not in part
    allowed = {
        "class", "id", "href", "style", "data-head", "dir", "scope", "hidden", "lang", "role", "d", "x", "y",
        "width", "cx", "cy", "r", "height", "viewBox", "points", "text-anchor", "xmlns", "aria-hidden", "aria-label",
        "aria-labelledby",
    }  # fmt: skip
    assert {name for element in well_formed(part).iter() for name in element.attrib} <= allowed


def test_long_answers_are_excerpts_around_the_first_change_and_whole_below() -> None:
    start = "the same words again and again " * 60
    line = answer("long", f"{start}NEW {start}", f"{start}OLD {start}", "short", asked="why?")
    page = draw_deck(subject(answers=[line])).split('id="answers"')[1].split('id="regressions"')[0]
    excerpt, whole = page.split("<details><summary>Both answers whole</summary>")
    assert "<ins>NEW</ins>" in excerpt
    assert "<del>OLD</del>" in excerpt
    assert len(excerpt) < 4000 < len(whole)
    assert "<details><summary>Both" not in draw_deck(subject(answers=[{**line, "candidate": "NEW", "champion": "OLD"}]))


def test_a_hundred_answers_of_ten_thousand_signs_are_a_few_megabytes() -> None:
    long = [
        answer(
            f"r{n:03}",
            f"word{n} <&> " * 1000,
            f"word{n % 7} <&> other " * 600,
            "word <&> " * 1200,
            asked="why? " * 2000,
        )
        for n in range(100)
    ]
    assert all(len(line["candidate"]) >= 9_900 for line in long)
    page = draw_page(subject(answers=long))
    assert len(page.encode()) < 4_000_000
    assert page.count('class="card pair"') == 20 + 2  # the cases' answers are gone, their names are not


def test_nothing_at_all_is_a_page() -> None:
    for found in ({}, {"metrics": {}, "details": None, "counts": None, "notes": None}):
        page = draw_deck(Subject(evaluation=found))
        well_formed(page)
        assert "No figure was measured." in page
        assert "No answers were kept." in page
        assert "Not decided yet" in page


def test_the_same_judgement_gives_the_same_bytes_whatever_the_order_of_its_answers(tmp_path: Path) -> None:
    path = write_page(subject(), tmp_path / "new" / "folder")
    assert path.name == "report.html"
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]
    again = subject(answers=list(reversed(subject().answers)))
    assert draw_page(again) == path.read_text(encoding="utf-8")
    assert json.loads(json.dumps(RULES)) == RULES

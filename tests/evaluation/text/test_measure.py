from __future__ import annotations

from flytewheel.evaluation.asking import Reply, Voice
from flytewheel.evaluation.measure import Compare, Examples, Heard, Measured
from flytewheel.evaluation.text.measure import TextMeasure
from flytewheel.records import Message, SftRow

LIMIT = 8


def measure(candidate: list[Reply], champion: list[Reply], reference_tokens: tuple[int, ...]) -> Measured:
    prompt = (Message(role="user", content="How?"),)
    rows = tuple(
        SftRow(f"r{n}", f"u{n}", "ops", prompt, f"you do it like this {n}", 1.0, 1.0, "answer")
        for n, _ in enumerate(candidate)
    )
    examples = Examples(rows, tuple(candidate), tuple(champion), reference_tokens)
    return TextMeasure(LIMIT).measure(Heard(examples, Voice(), Voice(), Voice()), Compare(200, 0.95, 1))


def good(number: int) -> Reply:
    return Reply(f"you do it like this {number}", 6)


def test_each_cause_is_counted_for_itself_and_all_together() -> None:
    bad = [Reply("", 0), Reply("no " * 30, 8), Reply("so on", 8, ended=False), Reply("ok<|im_end|>", 4)]
    found = measure([*bad, *map(good, range(4, 8))], list(map(good, range(8))), (3,) * 8)
    shares = {name: found.metrics[name].candidate.estimate for name in found.metrics if name.endswith("_share")}
    assert shares == {"degenerate_share": 0.5, "looping_share": 0.125, "empty_share": 0.125, "unstopped_share": 0.25}
    assert found.metrics["degenerate_share"].champion.estimate == 0
    assert found.details["degenerate"]["candidate"]["unstopped"] == {"count": 2, "rows": ["r2", "r3"]}
    assert found.metrics["rouge_2"].champion.estimate == found.metrics["bleu"].champion.estimate / 100 == 1
    assert found.metrics["chrf"].champion.estimate == 100
    assert found.notes == ()


def test_where_the_limit_cuts_the_references_nothing_is_said_about_stopping() -> None:
    cut = [Reply("so on", 8, ended=False)] * 6
    known = measure(cut, list(map(good, range(6))), (8, 8, 3, 3, 3, 3)).metrics["unstopped_share"]
    assert (known.candidate.estimate, known.champion.estimate) == (1, 0)
    found = measure(cut, cut, (LIMIT,) * 6)
    assert found.metrics["unstopped_share"].candidate.estimate is None  # a gate that asks for it holds
    assert "6 of 6 examples" in found.notes[0]
    assert found.details["references_beyond_limit"] == 6


def test_no_examples_give_no_figures() -> None:
    assert {one.candidate.estimate for one in measure([], [], ()).metrics.values()} == {None}

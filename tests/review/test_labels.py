"""Labels as records: the last word of each reviewer, whatever review it comes from."""

from __future__ import annotations

import pytest

from flytewheel.records import ReviewLabel
from flytewheel.review import desk
from flytewheel.review.labels import decide, labels_of, labels_of_run, read_labels
from flytewheel.review.store import list_duels
from tests.review.duels import make_line, prefer, put_up


def test_labels_come_back_as_records(database_url: str) -> None:
    review = put_up(database_url, count=6, shared=1)
    said = {prefer(database_url, review, "ada", wanted): wanted for wanted in ("ours", "theirs", "tie")}
    prefer(database_url, review, "ada", "skip")
    prefer(database_url, review, "ada", "ours")
    desk.undo(database_url, review.review_id, "ada")
    expected = [ReviewLabel(duel, "ada", said[duel]) for duel in sorted(filter(None, said))]  # type: ignore[arg-type]
    assert labels_of(database_url, filter(None, said)) == expected
    assert labels_of(database_url) == expected
    assert labels_of_run(database_url, "run-1") == expected
    assert labels_of_run(database_url, "another") == []
    assert labels_of(database_url, []) == []
    assert labels_of(database_url, ["nope"]) == []
    assert [label.record for label in read_labels(database_url, review.review_id)] == expected


def test_the_newest_of_two_reviews_counts_and_is_turned_round_where_the_roles_are(database_url: str) -> None:
    line = make_line(1)
    swapped = make_line(1, candidate=line["champion"], champion=line["candidate"])
    first = put_up(database_url, "run-1", lines=[line])
    duel = prefer(database_url, first, "ada", "ours")
    assert duel is not None
    now = {duel: line["champion"]}  # last week's champion is the candidate's answer now
    assert labels_of(database_url, [duel])[0].preferred == "ours"
    assert labels_of(database_url, [duel], ours=now)[0].preferred == "theirs"
    second = put_up(database_url, "run-2", lines=[swapped])
    assert prefer(database_url, second, "ada", "ours") == duel
    assert [each.preferred for each in labels_of(database_url, [duel], ours=now)] == ["ours"]
    assert len(list_duels(database_url, second.review_id)) == 1


@pytest.mark.parametrize(
    ("said", "together"),
    [
        ([], None),
        (["ours"], "ours"),
        (["theirs", "theirs", "ours"], "theirs"),
        (["ours", "theirs"], "tie"),
        (["ours", "tie"], "tie"),
        (["ours", "ours", "tie"], "ours"),
        (["ours", "theirs", "tie"], "tie"),
        (["tie", "tie"], "tie"),
    ],
)
def test_what_several_say_together(said: list[str], together: str | None) -> None:
    assert decide(said) == together

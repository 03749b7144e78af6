"""What lies before a reviewer, on a real PostgreSQL."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from flytewheel.errors import ReviewError
from flytewheel.review import desk
from flytewheel.review.close import close_review
from flytewheel.review.labels import read_labels
from flytewheel.review.store import list_duels
from tests.review.duels import prefer, put_up


def test_asking_again_gives_the_same_duel_on_the_same_sides(database_url: str) -> None:
    review = put_up(database_url)
    first = desk.show_next(database_url, review.review_id, "ada")
    assert first is not None
    assert desk.show_next(database_url, review.review_id, "ada") == first


def test_a_label_is_stored_as_whose_answer_it_preferred(database_url: str) -> None:
    review = put_up(database_url, count=30, shared=1)
    ours = {duel.duel_id: duel.ours for duel in list_duels(database_url, review.review_id)}
    left = Counter()
    while (shown := desk.show_next(database_url, review.review_id, "ada")) is not None:
        on_left = shown.left == ours[shown.duel_id]
        left[on_left] += 1
        desk.say(database_url, review.review_id, "ada", shown.duel_id, "left" if on_left else "right")
    assert {label.preferred for label in read_labels(database_url, review.review_id)} == {"ours"}
    assert min(left.values()) >= 5  # of 30: both sides come


def test_the_same_label_twice_is_one_and_a_change_is_kept_as_history(database_url: str) -> None:
    review = put_up(database_url)
    shown = desk.show_next(database_url, review.review_id, "ada")
    assert shown is not None
    answer = (database_url, review.review_id, "ada", shown.duel_id)
    assert desk.say(*answer, "tie") == "stored"
    assert desk.say(*answer, "tie") == "duplicate"
    assert desk.say(*answer, "tie", comment="Both say so.") == "stored"
    assert desk.say(*answer, "left", comment="Both say so.") == "stored"
    (label,) = read_labels(database_url, review.review_id)
    assert label.preferred in ("ours", "theirs")
    assert label.comment == "Both say so."
    with psycopg.connect(database_url) as connection:
        rows = connection.execute("SELECT said FROM review_labels ORDER BY entry").fetchall()
    assert [row[0] for row in rows] == ["tie", "tie", label.preferred]


def test_undo_goes_back_step_by_step_and_forth_again(database_url: str) -> None:
    review = put_up(database_url)
    said = [prefer(database_url, review, "ada", wanted, comment=wanted) for wanted in ("ours", "skip", "tie")]
    before = desk.show_next(database_url, review.review_id, "ada")
    assert [desk.undo(database_url, review.review_id, "ada") for _ in range(4)] == [*said[::-1], None]
    assert read_labels(database_url, review.review_id) == []
    again = []
    for _ in range(3):
        shown = desk.show_next(database_url, review.review_id, "ada")
        assert shown is not None
        again.append((shown.duel_id, shown.comment))
        desk.say(database_url, review.review_id, "ada", shown.duel_id, "tie")
    assert again == list(zip(said, ("ours", "skip", "tie"), strict=True))
    assert desk.show_next(database_url, review.review_id, "ada") == before


def test_a_duel_that_was_not_dealt_is_refused(database_url: str) -> None:
    review = put_up(database_url)
    shown = desk.show_next(database_url, review.review_id, "ada")
    assert shown is not None
    others = [d.duel_id for d in list_duels(database_url, review.review_id) if d.duel_id != shown.duel_id]
    for duel in (others[0], "nope", "", "a\x00b"):
        with pytest.raises(ReviewError, match="was not dealt to ada"):
            desk.say(database_url, review.review_id, "ada", duel, "left")
    with pytest.raises(ReviewError, match="was not dealt to bob"):
        desk.say(database_url, review.review_id, "bob", shown.duel_id, "left")
    assert read_labels(database_url, review.review_id) == []


def test_a_closed_review_takes_nothing(database_url: str) -> None:
    review = put_up(database_url)
    shown = desk.show_next(database_url, review.review_id, "ada")
    assert shown is not None
    close_review(database_url, review.review_id, source="oncall")
    for call in (
        lambda: desk.show_next(database_url, review.review_id, "ada"),
        lambda: desk.say(database_url, review.review_id, "ada", shown.duel_id, "left"),
        lambda: desk.undo(database_url, review.review_id, "ada"),
    ):
        with pytest.raises(ReviewError, match="closed"):
            call()


def test_reviewers_share_the_stated_part_and_divide_the_rest(database_url: str) -> None:
    review = put_up(database_url, count=20, shared=0.2)
    dealt: dict[str, list[str]] = {"ada": [], "bob": []}
    going = ["ada", "bob"]
    while going:
        for name in list(going):
            shown = desk.show_next(database_url, review.review_id, name)
            if shown is None:
                going.remove(name)
                continue
            dealt[name].append(shown.duel_id)
            desk.say(database_url, review.review_id, name, shown.duel_id, "tie")
    both = set(dealt["ada"]) & set(dealt["bob"])
    assert len(both) == 4
    assert len(set(dealt["ada"]) | set(dealt["bob"])) == 20
    assert sorted(map(len, dealt.values())) == [12, 12]
    standing = desk.read_standing(database_url, review.review_id, "ada")
    assert (standing.duels, standing.answered, standing.labelled, standing.seconds) == (20, 20, 12, 8)
    assert desk.show_next(database_url, review.review_id, "ada", more=True) is not None


def test_reviewers_at_once_are_dealt_different_duels(database_url: str) -> None:
    review = put_up(database_url, count=16, shared=0)

    def work(name: str) -> list[str]:
        return [found for _ in range(4) if (found := prefer(database_url, review, name, "ours"))]

    with ThreadPoolExecutor(4) as pool:
        dealt = [duel for found in pool.map(work, ("ada", "bob", "cy", "dee")) for duel in found]
    assert len(dealt) == len(set(dealt)) == 16


def test_a_skipped_duel_goes_to_the_others(database_url: str) -> None:
    review = put_up(database_url, count=1, shared=0)
    skipped = prefer(database_url, review, "ada", "skip")
    assert desk.show_next(database_url, review.review_id, "ada") is None
    shown = desk.show_next(database_url, review.review_id, "bob")
    assert shown is not None
    assert shown.duel_id == skipped
    assert read_labels(database_url, review.review_id) == []
    assert desk.read_standing(database_url, review.review_id, "ada").skipped == 1


@pytest.mark.parametrize(
    ("given", "tidy"),
    [("Ada", "Ada"), ("  Ada   Lovelace ", "Ada Lovelace"), ("Zoe\u0308", "Zo\u00eb"), ("李雷", "李雷")],
)
def test_names_have_one_form(given: str, tidy: str) -> None:
    assert desk.check_reviewer(given) == tidy


@pytest.mark.parametrize("given", ["", "   ", "a" * 81, "a\x00b", "a\u202eb", "\ud800", "a\u200bb"])
def test_names_that_cannot_be_seen_are_refused(given: str) -> None:
    with pytest.raises(ReviewError, match="expected a reviewer's name"):
        desk.check_reviewer(given)


def test_a_comment_too_long_is_refused_and_a_nul_goes(database_url: str) -> None:
    review = put_up(database_url)
    shown = desk.show_next(database_url, review.review_id, "ada")
    assert shown is not None
    with pytest.raises(ReviewError, match="comment of at most 4000"):
        desk.say(database_url, review.review_id, "ada", shown.duel_id, "tie", comment="x" * 4001)
    desk.say(database_url, review.review_id, "ada", shown.duel_id, "tie", comment=" a\x00b ")
    assert read_labels(database_url, review.review_id)[0].comment == "ab"

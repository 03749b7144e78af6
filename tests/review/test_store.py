"""What an evaluation puts up, on a real PostgreSQL."""

from __future__ import annotations

import threading
from typing import Any

import psycopg
import pytest

from flytewheel.database import migrate
from flytewheel.errors import ReviewError
from flytewheel.recipe import ReviewSpec
from flytewheel.records import duel_id, to_jsonable
from flytewheel.review.close import close_review
from flytewheel.review.labels import read_labels
from flytewheel.review.store import get_review, list_duels, list_reviews, name_review, read_duels
from tests.review.duels import make_line, prefer, put_up


def test_answers_that_differ_become_duels(database_url: str) -> None:
    same = make_line(90, candidate="Look at it.", champion="Look  at it.\n")
    other_kind = make_line(91, kind="probe")
    review = put_up(database_url, lines=[make_line(1), make_line(1, user="another"), same, other_kind, make_line(2)])
    duels = list_duels(database_url, review.review_id)
    line = make_line(1)
    assert review.duels == 2
    assert {duel.duel_id for duel in duels} == {
        duel_id(make_line(n)["prompt"], make_line(n)["candidate"], make_line(n)["champion"]) for n in (1, 2)
    }
    first = next(duel for duel in duels if duel.ours == line["candidate"])
    assert (first.theirs, first.prompt, first.user) == (line["champion"], line["prompt"], line["user"])


def test_lines_read_from_the_file_give_the_same_duels() -> None:
    line = make_line(1)
    assert read_duels([to_jsonable(line)]) == read_duels([line])


def test_no_more_than_the_recipe_says_are_put_up(database_url: str) -> None:
    review = put_up(database_url, count=30, spec=ReviewSpec(examples=12, shared=0.5))
    assert (review.duels, review.common) == (12, 6)


def test_a_recipe_may_want_no_review(database_url: str) -> None:
    with pytest.raises(AssertionError):
        put_up(database_url, spec=ReviewSpec(enable=False))
    assert list_reviews(database_url) == []


def test_models_that_say_the_same_put_nothing_up(database_url: str) -> None:
    with pytest.raises(AssertionError):
        put_up(database_url, lines=[make_line(1, candidate="Same.", champion="Same.")])
    assert list_reviews(database_url) == []


def test_the_review_s_id_says_nothing_about_the_run(database_url: str) -> None:
    review = put_up(database_url, "oncall-20261128-abcdef")
    assert review.review_id == name_review("oncall-20261128-abcdef")
    assert "oncall" not in review.review_id
    assert get_review(database_url, "oncall-20261128-abcdef") == get_review(database_url, review.review_id) == review


def test_evaluating_again_keeps_labels_and_sides(database_url: str) -> None:
    first = put_up(database_url)
    duel = prefer(database_url, first, "ada", "ours")
    again = put_up(database_url, salt="another-salt")
    assert (again.review_id, again.salt, again.duels) == (first.review_id, first.salt, first.duels)
    assert [label.duel_id for label in read_labels(database_url, again.review_id)] == [duel]


def test_other_answers_replace_what_nobody_has_seen(database_url: str) -> None:
    review = put_up(database_url, count=10)
    seen = prefer(database_url, review, "ada", "theirs")
    again = put_up(database_url, lines=[make_line(number, candidate=f"Anew {number}.") for number in range(10)])
    names = {duel.duel_id for duel in list_duels(database_url, review.review_id)}
    assert seen in names
    assert again.duels == 11
    assert [label.duel_id for label in read_labels(database_url, review.review_id)] == [seen]


def test_a_closed_review_never_changes(database_url: str) -> None:
    review = put_up(database_url, count=4)
    close_review(database_url, review.review_id, source="oncall")
    assert put_up(database_url, count=9).duels == 4


@pytest.mark.parametrize(
    "text",
    [
        "</script><script>alert(1)</script>", "<img src=x onerror=alert(1)>", "'; DROP TABLE reviews; --", "\u202eevil",
        "a\x00b", "", "   ", "😀" * 3000, "{}%s{0}", "\u2028", "%(review_id)s",
    ],
)  # fmt: skip
def test_hostile_texts_are_kept_as_they_are(database_url: str, text: str) -> None:
    line = make_line(1, candidate=text, user=text or "u", topic=text)
    review = put_up(database_url, lines=[line])
    (duel,) = list_duels(database_url, review.review_id)
    assert duel.ours == text.replace("\x00", "\ufffd")
    assert duel.duel_id == duel_id(line["prompt"], text, line["champion"])


def test_an_unknown_review_is_one_line(database_url: str) -> None:
    for name in ("nope", "", "a\x00b"):
        with pytest.raises(ReviewError, match="no review") as error:
            get_review(database_url, name)
        assert "\n" not in str(error.value)


def test_migrating_again_keeps_everything(database_url: str) -> None:
    review = put_up(database_url)
    migrate(database_url)
    assert get_review(database_url, review.run_id) == review


def test_two_stations_at_once_open_one_review(database_url: str) -> None:
    found: list[Any] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(put_up(database_url, count=20, salt=f"salt-{n}")))
        for n in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({(each.review_id, each.salt, each.duels) for each in found}) == 1


def test_taking_a_user_out_takes_their_duels_and_labels(database_url: str) -> None:
    """Erasing is a DELETE of the operator's; nothing may hold it back or be left."""
    review = put_up(database_url, count=7)
    while prefer(database_url, review, "ada", "tie") is not None:
        pass
    with psycopg.connect(database_url) as connection:
        connection.execute("DELETE FROM review_duels WHERE user_id = 'user-3'")
    assert len(read_labels(database_url, review.review_id)) == 6

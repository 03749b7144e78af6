"""Who must stay out of imports, known by keyed hashes alone."""

from __future__ import annotations

from array import array
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flytewheel.database import connect
from flytewheel.erase.record import find_erasures, open_erasure
from flytewheel.errors import FeedbackError
from flytewheel.forgotten import Forgotten, check_of, make_key, name_row, name_subject, read_forgotten, read_key

KEY, NOW = "a secret of sixteen", datetime(2026, 11, 28, tzinfo=UTC)


def forget(*users: str, interactions: tuple[str, ...] = ()) -> Forgotten:
    rows = array("q", sorted(name_row(KEY, "interaction", name) for name in interactions))
    return Forgotten(KEY, {name_subject(KEY, user): NOW for user in users}, rows)


def test_up_to_the_erasure_is_refused_and_later_is_new() -> None:
    found = forget("maria", interactions=("i1",))
    assert found.refuses("maria", NOW, [])
    assert not found.refuses("maria", NOW + timedelta(seconds=1), [])
    assert not found.refuses("mario", NOW, [("interaction", "i2")])
    assert found.refuses("mario", NOW + timedelta(days=9), [("feedback", "e1"), ("interaction", "i1")])
    assert not found.refuses("mario", NOW, [("feedback", "i1")]), "an event may bear an interaction's id"


@given(st.text(min_size=1, max_size=30), st.lists(st.text(min_size=1, max_size=30), max_size=5))
def test_a_name_is_found_whatever_it_is_and_no_other(user: str, others: list[str]) -> None:
    found = forget(user)
    assert found.refuses(user, NOW, [])
    assert [other for other in others if found.refuses(other, NOW, [])] == [other for other in others if other == user]


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ('{"user_id": "maria@example.org", "query": 7}', True),
        ('{"user_id": "maria@example.org"', True),
        ("garbage maria@example.org garbage", True),
        ('{"interaction_id": "i1", broken', True),
        ('{"user_id": "maria@example.organic"}', False),
        ("{", False),
        ("", False),
    ],
)
def test_a_line_that_cannot_be_read_is_refused_by_the_names_in_it(line: str, refused: bool) -> None:
    assert forget("maria@example.org", interactions=("i1",)).refuses_text(line) is refused


def test_the_list_needs_its_key(database_url: str) -> None:
    with connect(database_url) as connection:
        assert not read_forgotten(connection, "")  # nobody was erased: no key is needed
    erasure = open_erasure(database_url, KEY, "maria", by="ops", until=NOW)
    assert open_erasure(database_url, KEY, "maria", by="another", until=NOW).erasure_id == erasure.erasure_id
    with connect(database_url) as connection:
        assert read_forgotten(connection, KEY).refuses("maria", NOW, [])
        stored = connection.execute("SELECT erasures::text FROM erasures").fetchall()
    assert "maria" not in str(stored)
    for key, said in (("", "no key"), ("another secret!!", "another key")):
        with (
            connect(database_url) as connection,
            pytest.raises(FeedbackError, match=f"has {said} to tell who: set FLY"),
        ):
            read_forgotten(connection, key)
        with pytest.raises(FeedbackError, match="FLYTEWHEEL_ERASURE_KEY"):
            find_erasures(database_url, key, "maria")


def test_the_key_of_a_home_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    assert read_key(tmp_path) == ""
    key = make_key(tmp_path / "home")
    assert (make_key(tmp_path / "home"), len(key)) == (key, 64)
    assert (tmp_path / "home" / "erasure.key").stat().st_mode & 0o777 == 0o600
    assert check_of(key) != check_of(KEY)

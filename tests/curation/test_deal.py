"""Dealing a window into buckets and shares."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from flytewheel.curation import deal, marks
from flytewheel.curation.deal import EVENTS, INTERACTIONS, deal_window, read_dealt
from flytewheel.errors import DatasetError
from tests.curation.weeks import make_busy_week, read_bytes, write_busy_window
from tests.curation.windows import make_event, make_interaction, make_week, write_window


def lines_of(shares: Sequence[Path], name: str) -> dict[str, list[bytes]]:
    """Lines of every bucket, by the bucket's name."""
    buckets = sorted(bucket for share in shares for bucket in share.iterdir() if bucket.is_dir())
    assert len({bucket.name for bucket in buckets}) == len(buckets)
    return {bucket.name: (bucket / name).read_bytes().splitlines() for bucket in buckets}


def locate(shares: Sequence[Path], name: str, key: str) -> dict[str, set[str]]:
    """The buckets in which each value of `key` stands."""
    found: dict[str, set[str]] = defaultdict(set)
    for bucket, lines in lines_of(shares, name).items():
        for line in lines:
            try:
                found[str(json.loads(line).get(key))].add(bucket)
            except (ValueError, AttributeError):
                found["?"].add(bucket)
    return found


def write_lines(folder: Path, interactions: Sequence[dict[str, Any]], events: Sequence[dict[str, Any]]) -> Path:
    write_window(folder, [], [])
    for name, rows in ((INTERACTIONS, interactions), (EVENTS, events)):
        (folder / name).write_bytes(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    return folder


@pytest.fixture(params=["marks", "marks that many names share"])
def alike(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where marks are alike, names decide."""
    if request.param != "marks":
        for name in ("_mark", "_mark_place"):
            monkeypatch.setattr(marks, name, lambda name: bytes([0] * 7 + [sum(name.encode()) % 7]))


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize(("shares", "rows"), [(1, 20_000), (1, 40), (3, 20_000), (4, 7), (7, 11)])
def test_every_line_lies_once_and_a_user_in_one_bucket(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, shares: int, rows: int
) -> None:
    monkeypatch.setattr(deal, "ROWS_A_BUCKET", rows)
    window = write_window(tmp_path / "w", *make_week(users=30, questions=80))
    folders = deal_window(window, tmp_path / "out", shares=shares)
    assert len(folders) == shares
    for name in (INTERACTIONS, EVENTS):
        dealt = [line for lines in lines_of(folders, name).values() for line in lines]
        assert sorted(dealt) == sorted((window / name).read_bytes().splitlines())
        assert all(len(buckets) == 1 for buckets in locate(folders, name, "user_id").values())
    one, other = (locate(folders, name, "user_id") for name in (INTERACTIONS, EVENTS))
    assert all(one[user] == other[user] for user in other), "reactions lie with their interactions"
    if rows < 100:
        assert len(lines_of(folders, EVENTS)) > 1


def test_each_share_says_the_same_of_the_window_and_digests_know_no_order(tmp_path: Path) -> None:
    week = make_week(questions=30)
    dealt = {
        json.dumps([one.digest, one.interactions, one.events, one.window])
        for shuffle, shares in ((None, 1), (3, 2), (4, 5))
        for folder in deal_window(
            write_window(tmp_path / f"w{shares}", *week, shuffle=shuffle), tmp_path / f"o{shares}", shares=shares
        )
        for one in (read_dealt(folder),)
    }
    assert len(dealt) == 1
    other = write_window(tmp_path / "other", week[0], week[1][1:])
    assert read_dealt(deal_window(other, tmp_path / "oo")[0]).digest not in dealt.pop()


def test_any_number_of_workers_and_blocks_of_any_size_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    window = write_busy_window(tmp_path / "w", make_busy_week(4), shuffle=1)
    monkeypatch.setattr(deal, "BLOCKS_A_PROCESS", 2)
    started: list[int] = []
    pool = deal.open_pool
    monkeypatch.setattr(deal, "open_pool", lambda count: started.append(count) or pool(count))
    dealt = []
    for workers, size in ((1, 1 << 24), (3, 1 << 24), (1, 999), (3, 20_000)):
        monkeypatch.setattr(marks, "BLOCK_BYTES", size)
        out = tmp_path / f"{workers}-{size}"
        deal_window(window, out, shares=3, workers=workers)
        dealt.append(read_bytes(out))
    assert dealt[0] == dealt[1] == dealt[2] == dealt[3]
    assert started == [2, 3], "files of one block each are four, and many make work for everybody"


def test_more_shares_than_buckets_are_empty_ones(tmp_path: Path) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=3))
    folders = deal_window(window, tmp_path / "out", shares=deal.MAX_BUCKETS + 3)
    assert len(folders) == deal.MAX_BUCKETS + 3
    assert all(read_dealt(folder).interactions > 0 for folder in folders)


def test_what_comes_along_with_late_events_is_dealt_too(tmp_path: Path) -> None:
    """The same line may stand in both files."""
    rows = [make_interaction(n, f"u{n}") for n in range(4)]
    window = write_window(tmp_path / "w", rows[:2], [make_event(n, one) for n, one in enumerate(rows)])
    write_window(tmp_path / "earlier", rows[1:], [make_event(9, rows[3], "copied")])
    (tmp_path / "earlier" / INTERACTIONS).rename(window / "earlier_interactions.jsonl")
    (tmp_path / "earlier" / EVENTS).rename(window / "earlier_feedback.jsonl")
    folders = deal_window(window, tmp_path / "out", shares=3)
    assert read_dealt(folders[0]).interactions == 4
    assert read_dealt(folders[0]).events == 5
    assert all(len(buckets) == 1 for buckets in locate(folders, INTERACTIONS, "user_id").values())
    assert locate(folders, EVENTS, "interaction_id") == locate(folders, INTERACTIONS, "interaction_id")


@pytest.mark.usefixtures("alike")
@pytest.mark.parametrize("turned", [False, True])
def test_all_bodies_of_one_id_lie_where_the_one_that_counts_lies(tmp_path: Path, turned: bool) -> None:
    """Of several readable lines the smallest counts; so its bucket does not depend on which one came first."""
    base = {"timestamp": "2026-11-09T08:00:00Z", "query": "q", "response": "r"}
    asked = [
        {**base, "interaction_id": f"i{n}", "user_id": user, "query": f"{user} asks"}
        for n in range(12)
        for user in ("ann", "bob", "eve")
    ]
    asked += [{**base, "interaction_id": f"i{n}", "user_id": "AAA", "query": ""} for n in range(12)]  # unreadable
    reacted = [
        {"event_id": f"e{n % 6}", "interaction_id": f"i{n}", "user_id": "ann", "feedback_type": kind,
         "timestamp": base["timestamp"]}
        for n in range(12)
        for kind in ("thumbs_up", "copied")
    ]  # fmt: skip
    if turned:
        asked.reverse()
        reacted.reverse()
    folders = deal_window(write_lines(tmp_path / "w", asked, reacted), tmp_path / "out", shares=8)
    homes = locate(folders, INTERACTIONS, "interaction_id")
    assert len(set().union(*homes.values())) == 1, "ann's lines are the smallest of those that count"
    ann = [{**base, "interaction_id": "i0", "user_id": "ann"}]
    alone = deal_window(write_lines(tmp_path / "w2", ann, []), tmp_path / "o2", shares=8)
    assert set().union(*homes.values()) == locate(alone, INTERACTIONS, "user_id")["ann"]
    assert all(len(buckets) == 1 for buckets in locate(folders, EVENTS, "event_id").values())
    for name, rows in ((INTERACTIONS, asked), (EVENTS, reacted)):
        assert sum(map(len, lines_of(folders, name).values())) == len(rows), "nothing is lost by dealing again"


def test_where_events_of_no_interaction_lie_is_decided_by_what_they_name(tmp_path: Path) -> None:
    strays = [{"event_id": f"e{n}", "interaction_id": f"stray-{n}"} for n in range(20)]
    asked = [{"interaction_id": f"i{n}", "user_id": f"u{n}"} for n in range(20)]
    for place, rows in enumerate(([], asked)):
        deal_window(write_lines(tmp_path / f"w{place}", rows, strays), tmp_path / f"o{place}", shares=8)
    one, other = (locate(sorted((tmp_path / name).iterdir()), EVENTS, "event_id") for name in ("o0", "o1"))
    assert one == other
    assert len(set().union(*one.values())) > 4


def test_ids_that_only_unreadable_lines_share_stay_where_they_are(tmp_path: Path) -> None:
    asked = [{"interaction_id": "i0", "user_id": user} for user in ("ann", "bob", "eve", "joe")]
    folders = deal_window(write_lines(tmp_path / "w", asked, []), tmp_path / "out", shares=8)
    assert sum(map(len, lines_of(folders, INTERACTIONS).values())) == 4


def test_lines_that_are_no_records_are_dealt_and_counted(tmp_path: Path) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=3))
    bad = [b"{", b"[1]", b"\xff", b"null", b'{"interaction_id": 5}', b'{"user_id": null, "interaction_id": "x"}']
    for name in (INTERACTIONS, EVENTS):
        with (window / name).open("ab") as stream:
            stream.write(b"\n".join([*bad, b"", b"  ", *bad]))
    before = read_dealt(deal_window(write_window(tmp_path / "good", *make_week(questions=3)), tmp_path / "og")[0])
    folders = deal_window(window, tmp_path / "out", shares=3)
    assert read_dealt(folders[0]).interactions == before.interactions + len(bad)
    assert sum(map(len, lines_of(folders, EVENTS).values())) == before.events + len(bad)


@pytest.mark.parametrize("name", ["window.json", INTERACTIONS, EVENTS])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=3))
    (window / name).unlink()
    with pytest.raises(DatasetError, match=rf"{name}.*write the window again"):
        deal_window(window, tmp_path / "out")


def test_a_line_that_stands_twice_is_dealt_once(tmp_path: Path) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=9))
    once = deal_window(window, tmp_path / "once", shares=2)
    for name in (INTERACTIONS, EVENTS):
        lines = (window / name).read_bytes()
        (window / name).write_bytes(lines + b"\n  " + lines.replace(b"\n", b"  \r\n"))
    twice = deal_window(window, tmp_path / "twice", shares=2)
    assert lines_of(once, INTERACTIONS) == lines_of(twice, INTERACTIONS)
    assert lines_of(once, EVENTS) == lines_of(twice, EVENTS)
    assert read_dealt(once[0]) == read_dealt(twice[0])


@pytest.mark.parametrize("text", ["[]", "{", "\x00"])
def test_facts_that_are_none_are_named(tmp_path: Path, text: str) -> None:
    window = write_window(tmp_path / "w", *make_week(questions=3))
    (window / "window.json").write_text(text)
    with pytest.raises(DatasetError, match=r"window\.json"):
        deal_window(window, tmp_path / "out")


@pytest.mark.parametrize(
    ("rows", "shares", "workers", "buckets"),
    [(0, 1, 2, 1), (1_800, 1, 2, 1), (19_999, 1, 2, 1), (20_000, 1, 2, 2), (40_001, 1, 1, 2), (100_000, 1, 2, 4),
     (1_000_000, 1, 2, 26), (1_000, 7, 2, 7), (10**8, 1, 2, 200), (50_000, 1, 16, 2)],
)  # fmt: skip
def test_buckets_are_shared_evenly_where_it_pays(rows: int, shares: int, workers: int, buckets: int) -> None:
    assert deal.count_buckets(rows, shares, workers) == buckets

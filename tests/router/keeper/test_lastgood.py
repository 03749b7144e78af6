"""The file that outlives the process: whole or refused, and never with more than was served."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from flytewheel.api_keys import ApiKey, hash_secret, new_secret
from flytewheel.experiment.experiments import Experiment
from flytewheel.settings import Settings, read_settings
from router.access.keys import Keys
from router.blocked import Served
from router.keeper.lastgood import FILE, LastGood
from router.keeper.routing import Contact, Routing

SECRET = b"assignment-secret"
ONE = Experiment("exp-1", "oncall", "running", "v1", "v2", 0.5, {"stages": [0.5]}, created_at=datetime.now(UTC))
RECORDS = {"versions/oncall/v1": b"\x00pointer", "taints/oncall/v1": None}


def make_settings(home: Path, **changes: str) -> Settings:
    told = {"home": str(home), "database_url": "postgresql://me:pw@db/one", "s3_url": "http://s3:1", **changes}
    return read_settings({f"FLYTEWHEEL_{key.upper()}": value for key, value in told.items()})


def make_routing(*, share: float = 0.5, contact_s: float = 1000.0) -> Routing:
    routing = Routing(Contact(600.0, wall=contact_s), {"oncall": Served("v1")}, {"oncall": replace(ONE, share=share)})
    routing.show(lambda key: True)
    return routing


def keep(home: Path) -> ApiKey:
    key = ApiKey("key_1", "key_1", hash_secret(new_secret()), frozenset({"serve"}), "", datetime.now(UTC))
    file = LastGood.open(make_settings(home), SECRET)
    file.records["oncall", "v1"] = RECORDS
    file.records["gone", "v1"] = RECORDS
    routing = make_routing()
    routing.contact.made()
    routing.contact.wall = 1000.0
    routing.show(lambda key: True)
    file.keep(routing, (key,))
    return key


def test_what_was_kept_is_found_again(tmp_path: Path) -> None:
    key = keep(tmp_path)
    file, keys = LastGood.open(make_settings(tmp_path), SECRET), Keys(b"admin")
    routing = Routing(Contact(600.0))
    file.restore(routing, keys)
    assert file.found == "good"
    assert routing.served == {"oncall": Served("v1")}
    assert routing.running == {"oncall": ONE}
    assert routing.contact.wall == 1000.0
    assert keys.keys == (key,)
    assert file.records == {("oncall", "v1"): RECORDS}  # what nobody needs is not kept
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert b"pw" not in (tmp_path / FILE).read_bytes()


@pytest.mark.parametrize(
    ("settings", "secret"),
    [({"database_url": "postgresql://me:pw@db/two"}, SECRET), ({"s3_url": "http://s3:2"}, SECRET), ({}, b"another")],
)
def test_a_file_of_other_services_is_refused(tmp_path: Path, settings: dict[str, str], secret: bytes) -> None:
    keep(tmp_path)
    assert LastGood.open(make_settings(tmp_path, **settings), secret).found.startswith("refused: it is torn")


def test_a_file_that_was_torn_or_changed_anywhere_is_refused_in_one_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    keep(tmp_path)
    path = tmp_path / FILE
    good = path.read_bytes()
    changed = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(0, len(good), 7)]
    torn = [good[:at] for at in range(0, len(good), 11)]
    for bad in [*changed, *torn, good + b"x", b"", b"\xff" * 100]:
        path.write_bytes(bad)
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            file = LastGood.open(make_settings(tmp_path), SECRET)
        routing = Routing(Contact(600.0))
        file.restore(routing, Keys(b"admin"))
        assert (routing.served, routing.contact.lost) == (None, True)
        assert [record.getMessage().count("\n") for record in caplog.records] == [0]


def test_the_time_of_contact_alone_is_written_now_and_then(tmp_path: Path) -> None:
    keep(tmp_path)
    file = LastGood.open(make_settings(tmp_path), SECRET)
    routing, keys = Routing(Contact(600.0)), Keys(b"admin")
    file.restore(routing, keys)
    before = (tmp_path / FILE).stat().st_ino
    routing.contact.wall = 1000.0 + file.every_s - 1
    file.keep(routing, keys.keys)
    assert (tmp_path / FILE).stat().st_ino == before
    routing.contact.wall = 1000.0 + file.every_s
    file.keep(routing, keys.keys)
    assert (tmp_path / FILE).stat().st_ino != before


def test_where_a_lower_share_cannot_be_written_the_higher_one_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep(tmp_path)
    file = LastGood.open(make_settings(tmp_path), SECRET)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("router.keeper.lastgood.os.replace", fail)
        file.keep(make_routing(share=0.1), None)
    assert list(tmp_path.iterdir()) == []
    file.keep(make_routing(share=0.1), None)
    assert LastGood.open(make_settings(tmp_path), SECRET).found == "good"

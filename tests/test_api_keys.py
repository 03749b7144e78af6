from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from flytewheel import api_keys
from flytewheel.api_keys import Limits, create_key, hash_secret, is_well_formed, list_keys, new_secret, rotate_key
from flytewheel.cli import main
from flytewheel.errors import ApiKeyError


def test_a_key_says_what_it_is_and_whether_it_is_whole() -> None:
    secrets = {new_secret() for _ in range(100)}
    assert len(secrets) == 100
    for secret in secrets:
        assert secret.startswith("fw_")
        assert len(secret) == 41
        assert is_well_formed(secret)


@given(st.integers(3, 40), st.characters(codec="ascii", categories=("Lu", "Ll", "Nd")))
def test_any_one_wrong_letter_is_told(place: int, letter: str) -> None:
    secret = "fw_7Q" + "a" * 30
    secret += api_keys._checksum(secret[3:])
    wrong = secret[:place] + letter + secret[place + 1 :]
    assert is_well_formed(wrong) == (wrong == secret)
    assert not is_well_formed(secret[:place])
    assert not is_well_formed(secret + letter)


@pytest.mark.parametrize("text", ["", "fw_", "fw_é" * 10, "sk-" + "a" * 38, "fw_" + "\0" * 38, "fw_" + "🙂" * 38])
def test_other_texts_are_no_keys(text: str) -> None:
    assert not is_well_formed(text)


def test_nothing_stored_opens_anything(database_url: str) -> None:
    key, secret = create_key(database_url, ["serve"], name="app", limits=Limits(requests=60, user_tokens=5))
    with psycopg.connect(database_url) as connection:
        (row,) = connection.execute("SELECT t::text, hash FROM api_keys t").fetchall()
    assert secret[3:] not in row[0]
    assert bytes(row[1]) == hash_secret(secret) == key.hash
    assert list_keys(database_url) == [key]
    assert api_keys.decode_keys(json.loads(json.dumps(api_keys.encode_keys([key])))) == [key]
    assert create_key(database_url, ["admin"], secret=secret)[0] == key  # what is stored stays as it is


def test_rotation_leaves_the_old_key_a_while_and_the_account_for_good(database_url: str) -> None:
    old, _ = create_key(database_url, ["serve", "feedback"], name="app", limits=Limits(tokens=9))
    fresh, secret = rotate_key(database_url, old.key_id, timedelta(hours=24))
    assert (fresh.account, fresh.scopes, fresh.name, fresh.limits) == (old.key_id, old.scopes, "app", old.limits)
    assert fresh.hash == hash_secret(secret) != old.hash
    kept = next(key for key in list_keys(database_url) if key.key_id == old.key_id)
    now = datetime.now(UTC)
    assert kept.is_live(now)
    assert not kept.is_live(now + timedelta(hours=24, seconds=1))
    third, _ = rotate_key(database_url, fresh.key_id, timedelta(0))
    assert third.account == old.key_id
    with pytest.raises(ApiKeyError, match="is expired: make a new one"):
        rotate_key(database_url, fresh.key_id, timedelta(hours=1))


def test_an_overlap_never_prolongs_a_key(database_url: str) -> None:
    ends = datetime.now(UTC) + timedelta(minutes=5)
    old, _ = create_key(database_url, ["read"], expires_at=ends)
    rotate_key(database_url, old.key_id, timedelta(days=9))
    kept = next(key for key in list_keys(database_url) if key.key_id == old.key_id)
    assert kept.expires_at == ends


def test_a_revoked_key_stays_revoked(database_url: str) -> None:
    key, _ = create_key(database_url, ["read"])
    first = api_keys.revoke_key(database_url, key.key_id)
    assert first.revoked_at is not None
    assert api_keys.revoke_key(database_url, key.key_id).revoked_at == first.revoked_at
    with pytest.raises(ApiKeyError, match="is revoked"):
        rotate_key(database_url, key.key_id, timedelta(hours=1))


def test_a_change_is_told_at_once(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {api_keys.CHANNEL}".encode())
        create_key(database_url, ["read"])
        told = list(listener.notifies(timeout=10, stop_after=1))
    assert [each.channel for each in told] == [api_keys.CHANNEL]


def test_what_cannot_be_is_refused_in_one_line(database_url: str) -> None:
    for scopes in ([], ["serve", "root"], ["serve feedback"]):
        with pytest.raises(ApiKeyError, match="expected one or more of serve, feedback, read, admin"):
            create_key(database_url, scopes)
    with pytest.raises(ApiKeyError, match="is past"):
        create_key(database_url, ["read"], expires_at=datetime.now(UTC) - timedelta(seconds=1))
    with pytest.raises(ApiKeyError, match="a limit of 0 a minute"):
        create_key(database_url, ["read"], limits=Limits(requests=0))
    for key_id in ("key_nobody", "a\0b", "é" * 500):
        with pytest.raises(ApiKeyError, match="no API key"):
            api_keys.revoke_key(database_url, key_id)
    assert list_keys(database_url) == []


def test_the_commands_make_list_rotate_and_revoke(database_url: str, services: object, tmp_path: object) -> None:
    environ = {
        "FLYTEWHEEL_HOME": str(tmp_path),
        "FLYTEWHEEL_DATABASE_URL": database_url,
        "FLYTEWHEEL_S3_URL": services.s3_url,  # type: ignore[attr-defined]
        "FLYTEWHEEL_S3_ACCESS_KEY": services.s3_access_key,  # type: ignore[attr-defined]
        "FLYTEWHEEL_S3_SECRET_KEY": services.s3_secret_key,  # type: ignore[attr-defined]
    }

    def call(*arguments: str) -> object:
        return CliRunner(env=environ).invoke(main, ["keys", *arguments])

    made = call("create", "--scope", "serve, feedback", "--name", "app", "--expires", "90d", "--rate", "600")
    assert made.exit_code == 0, made.output  # type: ignore[attr-defined]
    secret = made.stdout.strip()  # type: ignore[attr-defined]
    assert is_well_formed(secret)
    (listed,) = json.loads(call("list", "--json").stdout)  # type: ignore[attr-defined]
    assert (listed["scopes"], listed["state"], listed["limits_a_minute"]["requests"]) == (
        ["feedback", "serve"],
        "live",
        600,
    )
    assert "hash" not in listed
    rotated = json.loads(call("rotate", listed["key_id"], "--overlap", "2h", "--json").stdout)  # type: ignore[attr-defined]
    assert is_well_formed(rotated["secret"])
    assert rotated["secret"] != secret
    assert call("revoke", rotated["key_id"]).exit_code == 0  # type: ignore[attr-defined]
    table = call("list").stdout  # type: ignore[attr-defined]
    assert "revoked" in table
    assert "600 requests" in table
    assert secret not in table
    for arguments, said in (
        (("create", "--scope", "root"), "expected one or more of"),
        (("create", "--scope", "serve", "--expires", "soon"), "such as 24h"),
        (("rotate", "key_nobody"), "no API key"),
    ):
        refused = call(*arguments)
        assert refused.exit_code != 0  # type: ignore[attr-defined]
        assert said in refused.output  # type: ignore[attr-defined]

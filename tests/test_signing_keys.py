"""Where a machine's keys are: made, trusted, revoked, given by settings, and kept from others."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from flytewheel.cli import main
from flytewheel.errors import SigningError
from flytewheel.settings import read_settings
from flytewheel.signing_keys import KeyRing, ensure_home_key, make_home_key, revoke_key, ring_of_settings, trust_key
from registry.keys import SigningKey, make_signing_key


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "home")


@pytest.fixture
def other(tmp_path: Path) -> SigningKey:
    key = make_signing_key()
    (tmp_path / "other.pem").write_bytes(key.pem)
    (tmp_path / "other.pem").chmod(0o600)
    (tmp_path / "other.pub").write_bytes(key.public.pem)
    return key


def test_a_home_makes_its_key_once_and_nobody_else_may_read_it(
    ring: KeyRing, capsys: pytest.CaptureFixture[str]
) -> None:
    made = ensure_home_key(ring)
    assert made is not None
    assert ensure_home_key(ring) is None
    path = ring.home / "keys" / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ring.read_signing_key() == made
    assert ring.read_trusted_keys() == [made.public]
    assert [file.name for file in path.parent.iterdir() if file.name.startswith(".")] == []
    assert capsys.readouterr().err == ""
    path.chmod(0o644)
    ring.read_signing_key()
    assert capsys.readouterr().err == f"warning: others may read the signing key {path}; chmod 600 it\n"


def test_a_new_key_leaves_the_old_one_trusted_until_it_is_revoked(ring: KeyRing) -> None:
    old, new = make_home_key(ring), make_home_key(ring)
    assert ring.read_signing_key() == new
    assert set(ring.read_trusted_keys()) == {old.public, new.public}
    with pytest.raises(SigningError, match=r"no trusted key begins with ''"):
        revoke_key(ring, "")
    with pytest.raises(SigningError, match="no trusted key begins with 'zz'"):
        revoke_key(ring, "zz")
    assert revoke_key(ring, old.public.short) == old.public
    assert ring.read_trusted_keys() == [new.public]


def test_a_key_in_the_settings_signs_and_is_believed(ring: KeyRing, other: SigningKey, tmp_path: Path) -> None:
    home = make_home_key(ring)
    pem = other.pem.decode()
    for given in (str(tmp_path / "other.pem"), pem, pem.strip().replace("\n", "\\n"), f"\n{pem}\n"):
        theirs = replace(ring, signing_key=given)
        assert theirs.read_signing_key() == other
        assert theirs.read_trusted_keys() == [home.public, other.public]
        assert replace(ring, trusted_keys=theirs.list_for_readers()).read_trusted_keys() in (
            [home.public, other.public],
            [other.public, home.public],
        )
        with pytest.raises(SigningError, match="FLYTEWHEEL_SIGNING_KEY is set"):
            make_home_key(theirs)


def test_trusted_keys_in_the_settings_are_all_that_is_believed(
    ring: KeyRing, other: SigningKey, tmp_path: Path
) -> None:
    home, third = make_home_key(ring), make_signing_key()
    pem = third.public.pem.decode()
    folder = str(ring.home / "keys" / "trusted")
    for given, keys in (
        (str(tmp_path / "other.pub"), [other.public]),
        (f"{tmp_path / 'other.pub'}{os.pathsep}{folder}", [other.public, home.public]),
        (pem, [third.public]),
        (pem.replace("\n", "\\n"), [third.public]),
        (f"{folder}\n{pem}", [third.public, home.public]),
        (pem + other.public.pem.decode() + pem, [third.public, other.public]),
    ):
        asked = replace(ring, trusted_keys=given)
        assert asked.read_trusted_keys() == keys
        with pytest.raises(SigningError, match="FLYTEWHEEL_TRUSTED_KEYS is set"):
            trust_key(asked, home.public)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"signing_key": "/nowhere/key.pem"}, "/nowhere/key.pem: private key cannot be read .No such file"),
        ({"trusted_keys": "/nowhere/key.pub"}, "/nowhere/key.pub: public key cannot be read .No such file"),
        ({"trusted_keys": "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"}, "is no public key"),
    ],
)
def test_what_is_not_there_is_named(ring: KeyRing, fields: dict[str, str], says: str) -> None:
    asked = replace(ring, **fields)
    with pytest.raises(SigningError, match=says) as caught:
        asked.read_trusted_keys()
    assert "\n" not in str(caught.value)


def test_settings_name_keys_by_paths_that_children_find(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = read_settings(
        {"FLYTEWHEEL_HOME": "home", "FLYTEWHEEL_SIGNING_KEY": "k.pem", "FLYTEWHEEL_TRUSTED_KEYS": "a.pub:b"}
    )
    ring = ring_of_settings(settings)
    assert (ring.home, ring.private_path) == (tmp_path / "home", tmp_path / "k.pem")
    assert ring.trusted_keys == f"{tmp_path / 'a.pub'}:{tmp_path / 'b'}"
    assert "k.pem" not in repr(settings)
    assert "k.pem" not in repr(ring)


def call(home: Path, *arguments: str) -> Result:
    return CliRunner(env={"FLYTEWHEEL_HOME": str(home)}).invoke(main, ["keys", "signing", *arguments])


def test_the_commands_make_show_trust_and_revoke(ring: KeyRing, other: SigningKey, tmp_path: Path) -> None:
    empty = call(ring.home, "show")
    assert "no signing key: make one with `flytewheel keys signing new`" in empty.stdout
    made = call(ring.home, "new")
    key = ring.read_signing_key().public
    assert made.stdout.startswith(f"signing key {key.short} in ")
    assert "a development key, made on this machine" in made.stdout
    assert key.pem.decode() in made.stdout
    assert "PRIVATE" not in made.stdout
    assert call(ring.home, "trust", str(tmp_path / "other.pub")).stdout.startswith(f"trusted {other.public.short}")
    shown = json.loads(call(ring.home, "show", "--json").stdout)
    assert {one["key"]: (one["signs"], one["trusted"]) for one in shown} == {
        key.key_id: (True, True),
        other.public.key_id: (False, True),
    }
    assert "revoked" in call(ring.home, "revoke", other.public.key_id).stdout
    assert call(ring.home, "revoke", key.short).exit_code == 0
    assert "NO: nobody here believes it" in call(ring.home, "show").stdout
    wrong = call(ring.home, "trust", str(tmp_path / "other.pem"))
    assert wrong.exit_code == 1
    assert wrong.stderr.startswith("error: ")
    assert "expected a public key" in wrong.stderr

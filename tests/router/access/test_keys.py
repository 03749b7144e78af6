from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from flytewheel.api_keys import ApiKey, Limits, hash_secret, new_secret
from router.access.callers import ADMIN, FEEDBACK, LOCAL, NOBODY, READ, SERVE
from router.access.keys import Keys
from router.refusals import RefusedError

NOW = datetime(2026, 11, 28, 12, tzinfo=UTC)
ROOT_KEY = b"root-key"
HOST = {b"host": b"127.0.0.1:8000"}


def make(secret: str, **changes: object) -> ApiKey:
    key = ApiKey("key_1", "key_1", hash_secret(secret), frozenset({SERVE}), "", NOW)
    return replace(key, **changes)  # type: ignore[arg-type]


def bearer(secret: str | bytes, **more: bytes) -> dict[bytes, bytes]:
    raw = secret if isinstance(secret, bytes) else secret.encode()
    return {b"authorization": b"Bearer " + raw, **{name.encode(): value for name, value in more.items()}}


class Clock:
    def __init__(self) -> None:
        self.now = NOW.timestamp()

    def __call__(self) -> float:
        return self.now


def test_a_key_is_found_by_what_was_given_and_keeps_its_scopes() -> None:
    secret, keys = new_secret(), Keys(ROOT_KEY)
    keys.replace([make(secret, account="key_0", limits=Limits(requests=3))])
    for _ in range(2):  # the second is remembered
        caller = keys.identify(bearer(secret))
        assert (caller.key_id, caller.account, caller.scopes) == ("key_1", "key_0", {SERVE})
        assert caller.limits == Limits(requests=3)
    assert keys.identify({b"authorization": f"bearer  {secret} ".encode()}) == caller
    assert keys.identify({}) is NOBODY
    assert keys.identify(bearer(ROOT_KEY)).scopes == {SERVE, FEEDBACK, READ, ADMIN}


def test_a_key_ends_and_is_revoked_also_when_it_was_remembered() -> None:
    secret, clock = new_secret(), Clock()
    keys = Keys(ROOT_KEY, clock=clock)
    keys.replace([make(secret, expires_at=NOW + timedelta(seconds=5))])
    assert keys.identify(bearer(secret)).key_id == "key_1"
    clock.now += 5
    with pytest.raises(RefusedError, match="has ended") as refused:
        keys.identify(bearer(secret))
    assert refused.value.status == 401
    keys.replace([make(secret)])
    assert keys.identify(bearer(secret)).key_id == "key_1"
    keys.replace([make(secret, revoked_at=NOW)])
    with pytest.raises(RefusedError, match="was revoked"):
        keys.identify(bearer(secret))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (b"Bearer ", "no such"),
        (b"", "expected"),
        (b"Basic YTpi", "expected"),
        (b"Bearer root-ke", "no such"),
        (b"Bearer root-key2", "no such"),
        (b"Bearer \xff\xfe\x00", "no such"),
        (b"Bearer " + b"x" * 9000, "expected"),
        (b"Bearer fw_" + b"a" * 38, "mistyped"),
        (b"Bearer " + new_secret().encode(), "no such"),
        (b"root-key", "expected"),
    ],
    ids=range(10),
)
def test_what_is_no_key_is_told(given: bytes, said: str) -> None:
    keys = Keys(ROOT_KEY)
    keys.replace([])
    with pytest.raises(RefusedError, match=said) as refused:
        keys.identify({b"authorization": given})
    assert (refused.value.status, refused.value.code) == (401, "invalid_api_key")
    assert len(str(refused.value)) < 100
    assert "root-key" not in str(refused.value)


def test_before_the_keys_were_read_nobody_is_called_a_stranger() -> None:
    keys = Keys(ROOT_KEY)
    with pytest.raises(RefusedError, match="not been read yet") as refused:
        keys.identify(bearer(new_secret()))
    assert refused.value.status == 503
    assert keys.identify(bearer(ROOT_KEY)).may(ADMIN)


@pytest.mark.parametrize(
    ("headers", "let_in"),
    [
        (HOST, True),
        ({b"host": b"localhost"}, True),
        ({b"host": b"[::1]:80"}, True),
        ({b"host": b"LocalHost:9"}, True),
        ({b"host": b"evil.example"}, False),  # a name that was bent to point here
        ({b"host": b"127.0.0.1.evil.example:80"}, False),
        ({b"host": b"localhost:evil"}, False),
        ({}, False),
        ({**HOST, b"origin": b"http://evil.example"}, False),  # a web page
        ({**HOST, b"origin": b"null"}, False),
    ],
)
def test_an_open_loopback_is_open_for_programs_of_this_machine(headers: dict[bytes, bytes], let_in: bool) -> None:
    keys = Keys(ROOT_KEY, loopback=True)
    keys.replace([])
    assert (keys.identify(headers) is LOCAL) == let_in
    assert not keys.identify(headers).may(ADMIN)
    assert Keys(ROOT_KEY).identify(headers) is NOBODY


def test_an_open_loopback_takes_the_keys_that_clients_make_up_but_no_wrong_one_of_ours() -> None:
    keys = Keys(ROOT_KEY, loopback=True)
    keys.replace([])
    assert keys.identify({**HOST, **bearer("sk-anything")}) is LOCAL
    with pytest.raises(RefusedError):
        keys.identify({b"host": b"evil.example", **bearer("sk-anything")})
    with pytest.raises(RefusedError):
        keys.identify({**HOST, **bearer(new_secret())})


def test_what_is_remembered_is_bounded() -> None:
    keys = Keys(ROOT_KEY)
    secrets = [new_secret() for _ in range(4100)]
    keys.replace([make(secret, key_id=f"key_{place}") for place, secret in enumerate(secrets)])
    for place, secret in enumerate(secrets):
        assert keys.identify(bearer(secret)).key_id == f"key_{place}"
    assert len(keys._table.known) <= 4096

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from flytewheel.api_keys import Limits
from router.access.callers import Caller
from router.access.rates import Rates
from router.refusals import RefusedError
from tests.router.live import ROOT


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def caller(account: str = "key_1", **limits: int) -> Caller:
    return Caller(account, account, frozenset(), Limits(**limits))


def count(rates: Rates, who: Caller, tries: int) -> int:
    """How many of so many requests are let in."""
    let_in = 0
    for _ in range(tries):
        try:
            rates.admit(who)
            let_in += 1
        except RefusedError:
            pass
    return let_in


@pytest.mark.parametrize("limit", [1, 2, 60, 7, 1000])
def test_a_minutes_worth_at_once_and_then_as_it_comes_back(limit: int) -> None:
    clock = Clock()
    rates, who = Rates(None, b"k", clock=clock), caller(requests=limit)
    assert count(rates, who, 2 * limit) == limit
    clock.now += 60 / limit + 0.001
    assert count(rates, who, 2) == 1
    clock.now += 3600
    assert count(rates, who, 2 * limit) == limit  # a long rest saves no more than a minute's


def test_a_refusal_says_when_and_headers_say_how_much() -> None:
    clock = Clock()
    rates, who = Rates(None, b"k", clock=clock), caller(requests=2, tokens=100)
    headers = dict(rates.admit(who))
    assert headers[b"x-ratelimit-limit-requests"] == b"2"
    assert headers[b"x-ratelimit-remaining-requests"] == b"1"
    assert headers[b"x-ratelimit-remaining-tokens"] == b"100"
    rates.admit(who)
    with pytest.raises(RefusedError, match="has used its 2 requests a minute; try again in 30 s") as refused:
        rates.admit(who)
    assert refused.value.status == 429
    found = dict(refused.value.headers or [])
    assert found[b"retry-after"] == b"30"
    assert found[b"x-ratelimit-remaining-requests"] == b"0"
    clock.now += 30
    rates.admit(who)


def test_tokens_are_a_debt_that_is_worked_off() -> None:
    clock = Clock()
    rates, who = Rates(None, b"k", clock=clock), caller(tokens=100)
    rates.admit(who)
    rates.charge(who, "ada", 150)
    with pytest.raises(RefusedError, match="tokens a minute; try again in 30 s"):
        rates.admit(who)
    clock.now += 30.01
    rates.admit(who)


def test_users_of_a_key_have_their_own_and_those_of_another_key_are_others() -> None:
    rates = Rates(None, b"k", clock=Clock())
    one, two = caller("key_1", user_requests=1), caller("key_2", user_requests=1)
    rates.admit_user(one, "ada")
    rates.admit_user(one, "grace")
    rates.admit_user(two, "ada")
    with pytest.raises(RefusedError, match="the user has used its 1 requests"):
        rates.admit_user(one, "ada")
    assert rates.admit(one) == []


def test_no_limit_is_no_header() -> None:
    rates = Rates(None, b"k")
    assert rates.admit(caller()) == []
    assert rates.admit_user(caller(requests=1), "ada") == []


def test_two_machines_share_a_limit() -> None:
    rates = Rates(None, b"k", replicas=2, clock=Clock())
    assert count(rates, caller(requests=60), 100) == 30


def test_a_flood_of_users_pushes_no_debt_out_and_takes_no_memory() -> None:
    """More users than places: a bucket that is full of debt stays, ones that are nearly empty go."""
    clock = Clock()
    rates, debtor = Rates(None, b"k", clock=clock), caller("key_1", user_requests=60)
    for _ in range(60):
        rates.admit_user(debtor, "debtor")
    size = len(rates._times)
    for number in range(100_000):
        rates.admit_user(debtor, f"user {number}")
    with pytest.raises(RefusedError):
        rates.admit_user(debtor, "debtor")
    assert len(rates._times) == size


def test_processes_share_the_table_and_a_restart_keeps_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tests.router.access.test_rates import caller, count, Rates;"
        "rates = Rates(Path(sys.argv[1]), b'k'); print('ready', flush=True); sys.stdin.readline();"
        "print(count(rates, caller(requests=500), 400))"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "router" / "rates")]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with ExitStack() as running:
        runs = [running.enter_context(subprocess.Popen(command, cwd=ROOT, **pipes)) for _ in range(2)]
        assert [run.stdout.readline() for run in runs] == ["ready\n"] * 2
        let_in = [int(run.communicate("go\n", timeout=60)[0]) for run in runs]
    assert 500 <= sum(let_in) <= 600  # eight a second come back; each for itself would let 800 in
    assert count(Rates(tmp_path / "router" / "rates", b"k"), caller(requests=500), 400) < 300
    assert (tmp_path / "router" / "rates").stat().st_mode & 0o777 == 0o600

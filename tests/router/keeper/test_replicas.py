"""Two routers, each with a keeper and workers of its own, before one database and one registry."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from flytewheel.api_keys import Limits, create_key, revoke_key
from flytewheel.database import announce_change, connect
from flytewheel.experiment.experiments import set_share, stop_experiment
from router.keeper.replicas import count_replicas, name_replica
from tests.ports import free_port
from tests.router.keeper.adapters import ask, post, register, serve
from tests.router.live import LiveRouter, measure_stale, wait_until

SOON_S = 2.0  # on a machine that does much else; 0.1 s where it does not. The poll takes 5


@pytest.fixture(scope="module")
def pair(
    make_busy: Callable[..., LiveRouter], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[LiveRouter, ...]]:
    one = make_busy(workers=2)
    home: Path = tmp_path_factory.mktemp("replica")
    one.registry  # noqa: B018 - the first home's signing key is made, which the other one is to believe
    trusted = next(one.home.rglob("*.pub*"))
    environ = one.environ | {"FLYTEWHEEL_HOME": str(home), "FLYTEWHEEL_TRUSTED_KEYS": str(trusted)}
    two = replace(one, home=home, environ=environ, port=free_port(), process=None, client=one.client)
    one.start()
    try:
        yield one, two.start()
    finally:
        if two.process is not None and two.process.poll() is None:
            two.stop()


def measure(router: LiveRouter, name: str, expected: str, change: Callable[[], object]) -> float:
    """Seconds from a committed change until the last request was sent that did not go by it."""
    return measure_stale(lambda number: ask(router, name, f"user-{number}"), expected, change)


def test_changes_arrive_in_all_workers_of_all_replicas_within_moments(pair: tuple[LiveRouter, ...]) -> None:
    one, two = pair
    control, treatment = serve(one, "pair", "stable"), register(one, "pair", "candy")
    wait_until(lambda: "pair" in str(two.send("GET", "/models").json()), what="the new name")
    experiment = one.launch("pair", control, treatment, share=1.0).json()["experiment"]["experiment_id"]
    wait_until(lambda: ask(two, "pair") == treatment, what="the experiment at the other one")
    took = [
        measure(two, "pair", control, lambda: one.send("PATCH", f"/experiments/{experiment}", {"share": 0.0})),
        measure(one, "pair", treatment, lambda: two.send("PATCH", f"/experiments/{experiment}", {"share": 1.0})),
        # not through a router at all: the rollout task writes the row
        measure(two, "pair", control, lambda: set_share(one.database_url, experiment, 0.0, actor="test")),
        measure(one, "pair", treatment, lambda: set_share(one.database_url, experiment, 1.0, actor="test")),
        measure(two, "pair", control, lambda: stop_experiment(one.database_url, experiment, reason="x", actor="t")),
    ]
    assert max(took) < SOON_S, took


def test_a_champion_moved_by_a_command_arrives_at_once_where_it_is_announced(pair: tuple[LiveRouter, ...]) -> None:
    one, two = pair
    serve(one, "moved", "stable")
    wait_until(lambda: "moved" in str(two.send("GET", "/models").json()), what="the new name")
    second = register(one, "moved", "candy")

    def promote() -> None:
        one.registry.promote("moved", second)
        announce_change(one.database_url, "champion", "moved")

    assert measure(two, "moved", second, promote) < 2 * SOON_S  # it is loaded first


def test_the_poll_alone_brings_a_change_within_its_period(pair: tuple[LiveRouter, ...]) -> None:
    one, two = pair
    control, treatment = serve(one, "polled", "stable"), register(one, "polled", "candy")
    experiment = one.launch("polled", control, treatment, share=1.0).json()["experiment"]["experiment_id"]
    wait_until(lambda: "polled" in str(two.send("GET", "/models").json()), what="the new name")
    wait_until(lambda: ask(two, "polled") == treatment, what="the experiment")
    with psycopg.connect(one.database_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE experiments DISABLE TRIGGER experiments_announce")
        try:
            took = measure(two, "polled", control, lambda: set_share(one.database_url, experiment, 0.0, actor="t"))
        finally:
            connection.execute("ALTER TABLE experiments ENABLE TRIGGER experiments_announce")
    assert took < 5.0 + SOON_S


def test_keys_open_and_close_everywhere_within_moments(pair: tuple[LiveRouter, ...]) -> None:
    one, two = pair
    serve(one, "keyed", "stable")
    key, secret = create_key(one.database_url, ("serve",))

    def status(number: int) -> int:
        body = {"model": "flytewheel/keyed", "messages": [{"role": "user", "content": "x"}]}
        return post((one, two)[number % 2], body, secret)[0]

    measure_stale(status, 200, lambda: None)
    assert measure_stale(status, 401, lambda: revoke_key(one.database_url, key.key_id)) < SOON_S


def test_replicas_divide_what_a_key_is_allowed(pair: tuple[LiveRouter, ...]) -> None:
    one, two = pair
    serve(one, "divided", "stable")
    wait_until(lambda: all(each.get("/healthz").json()["replicas"] == 2 for each in pair), what="they know each other")
    wait_until(lambda: "divided" in str(two.send("GET", "/models").json()), what="the new name")
    _, secret = create_key(one.database_url, ["serve"], limits=Limits(requests=40))
    body = {"model": "flytewheel/divided", "messages": [{"role": "user", "content": "Which word?"}]}
    wait_until(lambda: all(post(each, {}, secret)[0] != 401 for each in pair), what="the key is known")

    def count(router: LiveRouter) -> int:
        return sum(post(router, body, secret)[0] == 200 for _ in range(40))

    for router in pair:  # some are spent by looking whether the key is known, some come back meanwhile
        assert 10 <= count(router) <= 30


def test_who_is_not_heard_of_any_more_divides_nothing(database_url: str, tmp_path: Path) -> None:
    assert [count_replicas(database_url, name) for name in ("one", "two", "one")] == [1, 2, 2]
    with connect(database_url) as connection:
        connection.execute("UPDATE router_replicas SET seen_at = seen_at - interval '21 seconds'")
    assert count_replicas(database_url, "one") == 1
    tables = [tmp_path / name for name in ("one", "two")]
    for table in tables:
        table.write_bytes(b"")
    assert len({name_replica(table) for table in (*tables, tables[0])}) == 2

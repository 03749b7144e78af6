"""Who is shown to answer, out of what two sources said and which versions are loaded."""

from __future__ import annotations

from dataclasses import replace

import pytest

from flytewheel.experiment.experiments import Experiment
from router.blocked import Served
from router.keeper.routing import Contact, Routing
from router.table import Key, Route

ONE = Experiment("exp-1", "oncall", "running", "v1", "v2", 0.5)
TWO = Experiment("exp-2", "oncall", "running", "v1", "v3", 0.1)


class Clock:
    """A clock that stands still until it is set."""

    def __init__(self, at: float = 1_000_000.0) -> None:
        self.at = at

    def __call__(self) -> float:
        return self.at


def make(experiment: Experiment | None = None, champion: str = "v1") -> Routing:
    contact = Contact(600.0, clock=Clock(), steady=Clock())
    contact.made()
    running = {} if experiment is None else {"oncall": experiment}
    return Routing(contact, {"oncall": Served(champion)}, running)


def is_loaded(*versions: str):  # type: ignore[no-untyped-def]
    def ask(key: Key) -> bool:
        return key[1] in versions

    return ask


def test_a_new_name_is_shown_at_once_and_a_known_one_when_it_is_loaded() -> None:
    routing = make()
    assert list(routing.show(is_loaded())) == ["oncall"]  # its requests wait
    assert routing.shown["oncall"] == Route("oncall", "v1")
    routing.served = {"oncall": Served("v2")}
    assert list(routing.show(is_loaded("v1"))) == ["oncall"]
    assert routing.shown["oncall"].champion == "v1"
    assert routing.list_needed() == {("oncall", "v1"), ("oncall", "v2")}
    assert not routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"].champion == "v2"


@pytest.mark.parametrize("after", [None, TWO], ids=["stopped", "superseded"])
def test_what_is_taken_back_does_not_wait_for_what_comes(after: Experiment | None) -> None:
    routing = make(ONE)
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"].experiment == ONE
    routing.running = {} if after is None else {"oncall": after}
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"] == Route("oncall", "v1")


def test_a_share_changes_although_a_new_champion_is_not_loaded() -> None:
    routing = make(ONE)
    routing.show(is_loaded("v1", "v2"))
    routing.running = {"oncall": replace(ONE, share=0.0)}
    routing.served = {"oncall": Served("v9")}
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"] == Route("oncall", "v1", replace(ONE, share=0.0))


def test_a_treatment_that_does_not_load_is_shown_where_it_is_left_to_the_control() -> None:
    routing = make()
    routing.show(is_loaded("v1"))
    routing.running = {"oncall": ONE}
    routing.show(is_loaded("v1"), force=frozenset({"oncall"}))
    assert routing.shown["oncall"].experiment == ONE


def test_after_the_limit_nobody_meets_a_treatment_until_the_database_is_back() -> None:
    routing = make(ONE)
    steady = routing.contact.steady
    assert isinstance(steady, Clock)
    routing.show(is_loaded("v1", "v2"))
    steady.at += 599.0
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"].experiment == ONE
    steady.at += 2.0
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"] == Route("oncall", "v1")
    routing.contact.made()
    routing.show(is_loaded("v1", "v2"))
    assert routing.shown["oncall"].experiment == ONE


def test_the_age_goes_on_over_restarts_and_a_clock_that_went_back_is_not_believed() -> None:
    clock, steady = Clock(1000.0), Clock()
    contact = Contact(600.0, wall=500.0, clock=clock, steady=steady)
    assert (contact.age_s, contact.lost) == (500.0, False)
    clock.at = 1101.0
    assert contact.lost
    clock.at = 400.0
    assert contact.lost
    assert Contact(600.0, clock=clock, steady=steady).lost  # never heard of
    contact.made()
    clock.at = 9e9  # somebody set the clock: this process was there all the time
    assert contact.age_s == 0.0


def test_names_that_are_withheld_have_no_route() -> None:
    routing = make()
    routing.served = {"oncall": Served(None, "tainted"), "other": Served("v1", "v1 serves in its place")}
    routing.show(is_loaded())
    assert set(routing.shown) == {"other"}
    assert routing.withheld == {"oncall": "tainted", "other": "v1 serves in its place"}

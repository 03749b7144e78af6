"""A workflow with everything that flytewheel's have, small enough to run in a moment: for the propeller's tests."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from flytekit import conditional, dynamic, map_task, task, workflow
from flytekit.exceptions.user import FlyteRecoverableException
from flytekit.types.error.error import FlyteError
from pydantic import BaseModel


class Order(BaseModel):
    """What is asked for."""

    count: int = 3
    word: str = "no"


class Dealt(NamedTuple):
    numbers: list[int]
    enough: bool
    order: Order


@task(retries=2)
def deal(order: Order) -> Dealt:
    return Dealt(list(range(order.count)), order.count > 1, order)


@task
def scale(number: int, word: str) -> int:
    return number * len(word)


@task
def add(numbers: list[int]) -> int:
    return sum(numbers)


@dynamic
def add_twice(numbers: list[int]) -> int:
    return add(numbers=[add(numbers=numbers), add(numbers=numbers)])


@task
def give_up(why: str) -> int:
    return -len(why)


@task
def note(order: Order, err: FlyteError | None = None) -> None:
    print(f"noted {order.word} {err}")


@workflow
def learn(numbers: list[int], order: Order) -> int:
    return add_twice(numbers=map_task(partial(scale, word=order.word))(number=numbers))


@workflow(on_failure=note)
def turn(order: Order) -> int:
    dealt = deal(order=order)
    return (
        conditional("enough")
        .if_((dealt.enough.is_true()) & (dealt.enough != False))  # noqa: E712
        .then(learn(numbers=dealt.numbers, order=dealt.order))
        .else_()
        .then(give_up(why="why"))
    )


@task(retries=1)
def stumble(word: str) -> str:
    if word == "away":
        raise FlyteRecoverableException("the database is away")
    if word == "wrong":
        raise ValueError("a word is wrong")
    return word


@workflow
def fall(word: str) -> str:
    return stumble(word=word)

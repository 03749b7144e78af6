"""A canary whose interactions are counted, and a connection beside it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from flytewheel.experiment.experiments import Experiment
from tests.experiment.canary import open_canary


@pytest.fixture
def experiment(database_url: str) -> Experiment:
    return open_canary(database_url)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as opened:
        yield opened

"""Real services of a run's own, for tests and for benchmarks that use what the tests use: one way to start them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from flytewheel.local import objects, places, postgres
from flytewheel.local.processes import ProcessId
from tests.ports import free_port

ACCESS_KEY = "flytewheel-test"
SECRET_KEY = "flytewheel-test-secret"
PASSWORD = "flytewheel-test"


@dataclass(frozen=True)
class TestServices:
    """Where the services are."""

    __test__ = False

    database_url: str
    s3_url: str
    s3_access_key: str
    s3_secret_key: str


@contextmanager
def run_services(open_dir: Path) -> Iterator[TestServices]:
    """PostgreSQL (without fsync) and an S3 store, on free ports of loopback; `open_dir` must be open to other users."""
    data_dir = places.choose_place(open_dir, places.unprivileged_account())
    logs = open_dir / "logs"
    with ExitStack() as cleanup:
        cleanup.callback(places.remove_place, open_dir)
        database, port = postgres.start(data_dir, password=PASSWORD, log=logs / "postgres.log", durable=False)
        cleanup.callback(postgres.stop, database)
        database_url = postgres.server_url(port, PASSWORD, postgres.DATABASE)
        store, port = objects.start(
            open_dir / "objects",
            log=logs / "objects.log",
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            bucket="flytewheel",
        )
        cleanup.callback(objects.stop, store)
        yield TestServices(database_url, objects.server_url(port), ACCESS_KEY, SECRET_KEY)


@dataclass
class StoppedPostgres:
    """A PostgreSQL that can be stopped and started again, on one port."""

    folder: Path
    log: Path
    process: ProcessId | None = None
    port: int = field(default_factory=free_port)

    @property
    def url(self) -> str:
        return self.name_database(postgres.DATABASE)

    def name_database(self, name: str) -> str:
        """The address of one of its databases."""
        return postgres.server_url(self.port, PASSWORD, name)

    def start(self) -> None:
        if self.process is None:
            self.process, self.port = postgres.start(
                self.folder, password=PASSWORD, log=self.log, port=self.port, durable=False
            )

    def stop(self) -> None:
        process, self.process = self.process, None
        if process is not None:
            postgres.stop(process)

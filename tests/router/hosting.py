"""A router with services of its own, for what runs outside pytest."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from flytewheel.api_keys import create_key
from flytewheel.database import migrate
from flytewheel.local import objects, places, postgres
from registry.store import ObjectStore
from tests.router.live import ADMIN_KEY, API_KEY, ASSIGNMENT_KEY, LiveRouter

_DATABASE, _ACCESS, _SECRET = "flytewheel-test", "flytewheel-test", "flytewheel-test-secret"


@contextlib.contextmanager
def host_router(folder: Path, **more: str) -> Iterator[LiveRouter]:
    """A running router; `more` goes into its environment. All is stopped at the end."""
    open_dir = Path(tempfile.mkdtemp(prefix="flytewheel-host-"))
    open_dir.chmod(0o711)
    with contextlib.ExitStack() as cleanup:
        cleanup.callback(places.remove_place, open_dir)
        data_dir = places.choose_place(open_dir, places.unprivileged_account())
        database, port = postgres.start(data_dir, password=_DATABASE, log=open_dir / "postgres.log", durable=False)
        cleanup.callback(postgres.stop, database)
        database_url = postgres.server_url(port, _DATABASE, postgres.DATABASE)
        store, port = objects.start(
            open_dir / "objects",
            log=open_dir / "objects.log",
            access_key=_ACCESS,
            secret_key=_SECRET,
            bucket="flytewheel",
        )
        cleanup.callback(objects.stop, store)
        migrate(database_url)
        create_key(database_url, ("serve", "read"), secret=API_KEY)
        environ = {
            "FLYTEWHEEL_HOME": str(folder),
            "FLYTEWHEEL_DATABASE_URL": database_url,
            "FLYTEWHEEL_S3_URL": objects.server_url(port),
            "FLYTEWHEEL_S3_ACCESS_KEY": _ACCESS,
            "FLYTEWHEEL_S3_SECRET_KEY": _SECRET,
            "FLYTEWHEEL_ADMIN_KEY": ADMIN_KEY,
            "FLYTEWHEEL_ASSIGNMENT_KEY": ASSIGNMENT_KEY,
            **more,
        }
        bucket = ObjectStore(objects.server_url(port), _ACCESS, _SECRET, "flytewheel")
        router = LiveRouter(folder, database_url, bucket, environ)
        cleanup.callback(router.client.close)
        router.start()
        cleanup.callback(router.stop)
        yield router

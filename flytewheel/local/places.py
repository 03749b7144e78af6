"""Which user PostgreSQL runs as, and where that user can read its programs and keep its data.

PostgreSQL refuses to run as root, so root starts it as `nobody`. Where `nobody` cannot enter the clone or the virtual
environment (a path under a 0700 /root), the data and, when needed, a copy of the programs go to an open place, and
`<home>/postgres` becomes a link to it. That place is in /var/lib when root can write there, else in /var/tmp: systemd
empties /var/tmp of files that were not touched for 30 days, and a database has such files.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from flytewheel.errors import StackError

UNPRIVILEGED = "nobody"
ENVIRON = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}  # no PGDATA or PGPORT of the user's reaches the server
_PREFIX = "flytewheel-"
_ROOTS = (Path("/var/lib"), Path("/var/tmp"))


@dataclass(frozen=True)
class Account:
    """The user that PostgreSQL runs as: `None` twice means this very user."""

    user: int | None
    group: int | None


def unprivileged_account() -> Account:
    """`nobody` for root, this user for everybody else.

    Raises:
        StackError: root on a system that has no `nobody`.
    """
    if os.geteuid() != 0:
        return Account(None, None)
    try:
        entry = pwd.getpwnam(UNPRIVILEGED)
    except KeyError:
        raise StackError(
            f"PostgreSQL does not run as root and this system has no user {UNPRIVILEGED!r}; "
            "run as an ordinary user, or set FLYTEWHEEL_DATABASE_URL"
        ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def can_reach(path: Path, account: Account) -> bool:
    """Whether that user can enter `path` (or the nearest parent that exists), found out by letting it try."""
    while not path.exists():
        path = path.parent
    script = 'if test -d "$1"; then cd "$1"; else test -r "$1"; fi'
    return run(["/bin/sh", "-c", script, "sh", path], account).returncode == 0


def choose_place(home: Path, account: Account, *, outside: Sequence[Path] = _ROOTS) -> Path:
    """The data folder for `home`: `home/postgres`, which links to an open place when `account` cannot enter `home`.

    The link is the only record of an outside place, so that it moves and goes with `home`.

    Raises:
        StackError: the linked place is gone, or no open place can be written.
    """
    inside = home / "postgres"
    if inside.is_symlink():
        target = inside.resolve()
        if not target.parent.is_dir():
            raise StackError(
                f"{inside} points to {target}, which is gone; restore it, or delete the link to start empty"
            )
        return target
    if account.user is None or can_reach(home, account):
        return inside
    if (inside / "PG_VERSION").exists():
        raise StackError(f"{UNPRIVILEGED!r} can no longer enter {inside}; open its parent folders (chmod o+x) again")
    target = _outside(outside, account) / "data"
    inside.symlink_to(target, target_is_directory=True)
    return target


def remove_place(home: Path, *, outside: Sequence[Path] = _ROOTS) -> None:
    """Deletes the outside place that `home/postgres` links to, if it does; the link goes too."""
    inside = home / "postgres"
    if not inside.is_symlink():
        return
    place = inside.resolve().parent
    if place.parent in {root.resolve() for root in outside} and place.name.startswith(_PREFIX) and place.is_dir():
        shutil.rmtree(place)
    inside.unlink()


def _outside(roots: Sequence[Path], account: Account) -> Path:
    for root in roots:
        if root.is_dir() and os.access(root, os.W_OK) and can_reach(root, account):
            place = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=root))
            place.chmod(0o711)
            return place
    names = " or ".join(str(root) for root in roots)
    raise StackError(f"{UNPRIVILEGED!r} can enter no place that root can write ({names}); set FLYTEWHEEL_DATABASE_URL")


def reachable_programs(programs: Path, data_dir: Path, account: Account) -> Path:
    """PostgreSQL's programs where `account` can run them: `programs` itself, or a copy beside `data_dir`.

    Args:
        programs: the folder with `bin/` and `share/`, inside its package.
        data_dir: its parent takes the copy (40 MB).
        account: who will run them.
    """
    server = programs / "bin" / "postgres"
    if account.user is None or can_reach(server, account):
        return programs
    # They find share/ and their libraries by relative paths: what wheels bundle lies beside or inside the package.
    package = programs.parent
    stamp = server.stat()
    target = data_dir.parent / f"programs-{stamp.st_size:x}-{stamp.st_mtime_ns:x}"
    copy = target / package.name / programs.name
    if not copy.exists():
        scratch = Path(tempfile.mkdtemp(prefix="copying-", dir=data_dir.parent))
        try:
            shutil.copytree(programs, scratch / package.name / programs.name, symlinks=True)
            for libraries in (package / ".dylibs", package.parent / f"{package.name}.libs"):
                if libraries.is_dir():
                    shutil.copytree(libraries, scratch / libraries.relative_to(package.parent))
            for folder in (scratch, scratch / package.name):
                folder.chmod(0o755)
            scratch.rename(target)
        except BaseException:
            shutil.rmtree(scratch)
            raise
    return copy


def give(path: Path, account: Account) -> None:
    """Makes `account` the owner of `path`."""
    if account.user is not None and account.group is not None:
        os.chown(path, account.user, account.group)


def run(command: Sequence[str | Path], account: Account, *, text: str = "") -> subprocess.CompletedProcess[str]:
    """Runs a program of PostgreSQL's to its end as `account`, with `text` on its input.

    Raises:
        StackError: it cannot be run at all.
    """
    try:
        return subprocess.run(
            [str(part) for part in command],
            input=text,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
            cwd="/",
            env=ENVIRON,
            user=account.user,
            group=account.group,
            extra_groups=None if account.user is None else [],
        )
    except OSError as error:
        raise StackError(f"cannot run {command[0]}: {error.strerror or error}") from error

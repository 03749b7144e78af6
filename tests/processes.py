"""The processes that a test started, found by their command lines."""

import psutil


def find_children(mark: str, parent: int | None = None) -> list[psutil.Process]:
    """The processes under `parent` whose command line holds `mark`; None: those that this one itself started, since
    routers which tests share have such children, too.

    One that ended and was not waited for yet is none: the kernel has taken its command line, and asking raises.
    """
    return [child for child in psutil.Process(parent).children(recursive=parent is not None) if runs(child.pid, mark)]


def runs(pid: int, mark: str) -> bool:
    """Whether process `pid` is alive and its command line holds `mark`."""
    try:
        return mark in " ".join(psutil.Process(pid).cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return False

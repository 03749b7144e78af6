"""Processes that share the work of one machine."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager


@contextmanager
def open_pool(processes: int) -> Iterator[ProcessPoolExecutor]:
    """Starts processes; where the work fails, what has not begun is not begun."""
    # spawn: a fork of a process whose libraries have threads may hang
    with ProcessPoolExecutor(processes, multiprocessing.get_context("spawn")) as pool:
        try:
            yield pool
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise

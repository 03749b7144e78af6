"""How far a transfer is: bytes in, MiB out, as a station's or a command's progress wants to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Progress = Callable[[str, int, int | None], None]


class Meter:
    """Counts the bytes of one transfer and tells `progress` (`what`, done, in all) whenever another MiB is full.

    Args:
        what: As in `download assistant, MiB`.
        size: Bytes in all.
        progress: Who is told; None: nobody.
    """

    def __init__(self, what: str, size: int, progress: Progress | None) -> None:
        self._what, self._size, self._progress = what, size, progress
        self._done, self._told = 0, -1
        self.add(0)

    def add(self, count: int) -> None:
        """Says that `count` more bytes are done."""
        self._done += count
        if self._progress is not None and self._done >> 20 != self._told:
            self._told = self._done >> 20
            self._progress(self._what, self._told, self._size >> 20)


def tell(what: str, sizes: Mapping[str, int], progress: Progress | None) -> Iterator[str]:
    """The files of these sizes, in bytes, one by one; `progress` is told after each that something came of."""
    meter = Meter(what, sum(sizes.values()), progress)
    for name, size in sizes.items():
        yield name
        meter.add(size)

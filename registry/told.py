"""How far a transfer is: files in MiB, as a station's or a command's progress wants to be told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Progress = Callable[[str, int, int | None], None]


def tell(what: str, sizes: Mapping[str, int], progress: Progress | None) -> Iterator[str]:
    """The files of these sizes, in bytes, one by one; `progress` is told (`what`, done, in all) in MiB after each."""
    whole, done = sum(sizes.values()), 0
    if progress is not None:
        progress(what, 0, whole >> 20)
    for name, size in sizes.items():
        yield name
        done += size
        if progress is not None:
            progress(what, done >> 20, whole >> 20)

"""How far a long step is: a bar on a terminal, a plain line now and then in a log.

Every station takes `progress(what, done, total)` and calls it as often as it likes; what becomes of it is decided here.
The libraries' own bars and banners are silenced meanwhile (`quiet_libraries`): they count other things and tear ours
apart.
"""

from __future__ import annotations

import io
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import TracebackType
from typing import Any, Self, TextIO

ProgressCallback = Callable[[str, int, int | None], None]


class Progress:
    """Shows progress while its `with` block runs; the object itself is the callable to hand down.

    Args:
        stream: Where to write (default: standard error).
        every_s: Seconds between two plain lines about the same thing; the first and the last one are always written.
        clock: Monotonic seconds.
    """

    def __init__(
        self, *, stream: TextIO | None = None, every_s: float = 10.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream or sys.stderr
        self._every_s = every_s
        self._clock = clock
        self._first: dict[str, tuple[float, int]] = {}
        self._last: dict[str, tuple[float, int, int | None]] = {}
        self._words: dict[str, str] = {}
        self._bar: Any = None
        self._tasks: dict[str, Any] = {}

    def __enter__(self) -> Self:
        if self._stream.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
            from rich.progress import Progress as RichProgress

            self._bar = RichProgress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[words]}"),
                console=Console(file=self._stream),
            )
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Says that `done` of `total` (None: unknown) of `what` are done; how fast, where `what` ends with `(MiB)`."""
        now = self._clock()
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total, words=self._words.get(what, ""))
            rate = self._tell_rate(what, done, now)
            fields: dict[str, Any] = {"words": rate} if rate else {}
            self._bar.update(self._tasks[what], completed=done, total=total, **fields)
            return
        known = self._last.get(what)
        finished = total is not None and done >= total
        if known is not None and (known[1:] == (done, total) or (now - known[0] < self._every_s and not finished)):
            return
        self._last[what] = (now, done, total)
        begun, from_ = self._first.setdefault(what, (now, done))
        parts = [f"{what} {done}/{total}" if total is not None else f"{what} {done}", self._words.get(what, "")]
        parts.append(self._tell_rate(what, done, now))
        if total is not None and from_ < done < total and now > begun:
            parts.append(f"{describe_seconds((now - begun) / (done - from_) * (total - done))} left")
        print(", ".join(filter(None, parts)), file=self._stream, flush=True)

    def _tell_rate(self, what: str, done: int, now: float) -> str:
        begun, from_ = self._first.setdefault(what, (now, done))
        return f"{(done - from_) / (now - begun):.0f} MiB/s" if what.endswith("(MiB)") and now > begun else ""

    def describe(self, what: str, words: str) -> None:
        """Says `words` about `what` beside how far it is, from now on: a training's loss and speed, say."""
        self._words[what] = words
        if self._bar is not None and what in self._tasks:
            self._bar.update(self._tasks[what], words=words)


def describe_seconds(seconds: float) -> str:
    """A time in words that can be read at a glance: `42 s`, `3 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    return f"{minutes} min {rest:02d} s" if minutes < 60 else f"{minutes // 60:,} h {minutes % 60:02d} min"


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences the bars and chatter of transformers and datasets inside the block, and puts back what was set before.

    Also switches off the usage reports that TRL's trainers send to the hub: a loop on hardware of one's own tells
    nobody.
    """
    with redirect_stdout(io.StringIO()):  # with WANDB_MODE=offline, this import prints a line of its own
        import transformers.integrations.integration_utils
    import datasets
    import huggingface_hub.constants
    import transformers.utils.logging

    transformers_logging: Any = transformers.utils.logging
    verbosity = transformers_logging.get_verbosity()
    transformers_bars = transformers_logging.is_progress_bar_enabled()
    dataset_bars = datasets.are_progress_bars_disabled()
    dataset_verbosity = datasets.logging.get_verbosity()
    huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY = True
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity_error()
    try:
        with warnings.catch_warnings():
            # Between libraries: peft 0.21 reads an attribute that transformers 5.23 has renamed.
            warnings.filterwarnings(
                "ignore", message="`is_gradient_checkpointing` is deprecated", category=FutureWarning
            )
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if transformers_bars:
            transformers_logging.enable_progress_bar()
        if not dataset_bars:
            datasets.enable_progress_bars()
        datasets.logging.set_verbosity(dataset_verbosity)

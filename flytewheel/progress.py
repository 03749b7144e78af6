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
        self._last: dict[str, tuple[float, int, int | None]] = {}
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
        """Says that `done` of `total` (None: unknown) of `what` are done."""
        if self._bar is not None:
            if what not in self._tasks:
                self._tasks[what] = self._bar.add_task(what, total=total)
            self._bar.update(self._tasks[what], completed=done, total=total)
            return
        now = self._clock()
        known = self._last.get(what)
        finished = total is not None and done >= total
        if known is not None and (known[1:] == (done, total) or (now - known[0] < self._every_s and not finished)):
            return
        self._last[what] = (now, done, total)
        print(f"{what} {done}/{total}" if total is not None else f"{what} {done}", file=self._stream, flush=True)


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

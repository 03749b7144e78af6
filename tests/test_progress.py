from __future__ import annotations

import io
import warnings

import pytest

from flytewheel.progress import Progress, describe_seconds, quiet_libraries


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_plain_lines_now_and_then() -> None:
    now = [0.0]
    stream = io.StringIO()
    with Progress(stream=stream, every_s=10.0, clock=lambda: now[0]) as progress:
        for done in range(0, 41, 4):
            now[0] = float(done)
            progress("sft", done, 40)
            progress("sft", done, 40)
        progress("rows", 7, None)
    # One at the start, then whenever 10 s have passed (12, 24, 36), and the last.
    lines = ["sft 0/40", "sft 12/40, 28 s left", "sft 24/40, 16 s left", "sft 36/40, 4 s left", "sft 40/40", "rows 7"]
    assert stream.getvalue().splitlines() == lines


@pytest.mark.parametrize("stream", [io.StringIO(), Terminal()], ids=["log", "terminal"])
def test_what_is_counted_in_mib_says_how_fast(stream: io.StringIO) -> None:
    """From 10 to 50 MiB in 20 s: 2 MiB a second, so the other 30 take 15 s."""
    now = [5.0]
    with Progress(stream=stream, clock=lambda: now[0]) as progress:
        progress("writing Q8_0 (MiB)", 10, 80)
        now[0] = 25.0
        progress("writing Q8_0 (MiB)", 50, 80)
    told = stream.getvalue()
    assert "2 MiB/s" in told
    if not stream.isatty():
        assert told.splitlines() == ["writing Q8_0 (MiB) 10/80", "writing Q8_0 (MiB) 50/80, 2 MiB/s, 15 s left"]


def test_a_line_tells_what_was_said_of_it_and_the_time_left_of_what_is_gone_on_with() -> None:
    """Gone on with at 60 of 100; 10 steps in 20 s, so 30 more take 60 s."""
    now = [0.0]
    stream = io.StringIO()
    with Progress(stream=stream, clock=lambda: now[0]) as progress:
        progress.describe("sft", "loss 2.5, 900 tokens/s")
        progress("sft", 60, 100)
        progress.describe("sft", "loss 1.25, 1,100 tokens/s")
        now[0] = 20.0
        progress("sft", 70, 100)
    assert stream.getvalue().splitlines() == [
        "sft 60/100, loss 2.5, 900 tokens/s",
        "sft 70/100, loss 1.25, 1,100 tokens/s, 1 min 00 s left",
    ]
    assert [describe_seconds(value) for value in (59.4, 59.6, 3599, 7260)] == [
        "59 s", "1 min 00 s", "59 min 59 s", "2 h 01 min",
    ]  # fmt: skip


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress("sft", 1, 4)
        progress.describe("sft", "loss 1.25")
        progress("sft", 4, 4)
    assert "loss 1.25" in stream.getvalue()
    assert "sft" in stream.getvalue()
    assert "4/4" in stream.getvalue()


def test_the_bar_is_taken_down_when_the_work_fails() -> None:
    progress = Progress(stream=Terminal())
    with pytest.raises(ZeroDivisionError), progress:
        progress("sft", 1 // 0, 4)
    assert progress._bar is None


def test_libraries_are_quiet_inside_and_as_before_outside() -> None:
    import datasets
    import huggingface_hub.constants
    from transformers.utils import logging as transformers_logging

    before = (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled())
    bars = datasets.are_progress_bars_disabled()
    with quiet_libraries():
        assert not transformers_logging.is_progress_bar_enabled()
        assert datasets.are_progress_bars_disabled()
        assert huggingface_hub.constants.HF_HUB_DISABLE_TELEMETRY
        with pytest.warns(UserWarning, match="ours"):
            warnings.warn("ours", UserWarning, stacklevel=1)
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before
    assert datasets.are_progress_bars_disabled() == bars

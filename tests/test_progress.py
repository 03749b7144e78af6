from __future__ import annotations

import io
import warnings

import pytest

from flytewheel.progress import Progress, quiet_libraries


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
    assert stream.getvalue().splitlines() == ["sft 0/40", "sft 12/40", "sft 24/40", "sft 36/40", "sft 40/40", "rows 7"]


def test_a_terminal_gets_a_bar() -> None:
    stream = Terminal()
    with Progress(stream=stream) as progress:
        progress("sft", 1, 4)
        progress("sft", 4, 4)
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

"""What did not fit into `base.max_length`, said once, with the next step."""

from __future__ import annotations

from flytewheel.training.rows import Rows


def describe_truncation(rows: Rows, max_length: int, *, cut: bool) -> str:
    """One line about rows that were too long; empty where all fit.

    Args:
        rows: as they were tokenised.
        max_length: tokens that a row may have.
        cut: whether their ends were cut (SFT), or the rows dropped (preferences).
    """
    if not rows.truncated:
        return ""
    counted = "1 row is" if rows.truncated == 1 else f"{rows.truncated:,} rows are"
    lost = "1 token" if rows.lost_tokens == 1 else f"{rows.lost_tokens:,} tokens"
    fate = "what is beyond it was left out" if cut else "left out"
    return (
        f"warning: {counted} longer than base.max_length = {max_length}: {fate}, {lost}; "
        "raise base.max_length to learn from them"
    )

"""What metrics are called, and how people say a number."""

from __future__ import annotations

NAMES = {
    "thumbs_up_rate": "share of thumbs up",
    "error_rate": "error rate",
    "latency_p95": "p95 latency",
    "correction_rate": "share of corrected answers",
    "conversion_rate": "share of requests with a thumbs up",
}


def say_number(value: float) -> str:
    """Two or three figures, as people say them."""
    size = abs(value)
    digits = 0 if size >= 20 or abs(value - round(value)) < 1e-9 else 1 if size >= 1 else 2
    return f"{value:,.{digits}f}"

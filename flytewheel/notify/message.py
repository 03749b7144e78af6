"""What is told: one message, the same for every channel."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

Severity = Literal["info", "warning", "error", "critical"]
SEVERITIES: tuple[Severity, ...] = ("info", "warning", "error", "critical")


@dataclass(frozen=True, slots=True)
class Message:
    """One thing that people are told.

    Attributes:
        key: of the execution and what it says: each channel hears of a key once, whoever tries again.
        name: the model that it is about.
        severity: who hears of it (flytewheel/notify/__init__.py).
        title: one line.
        at: when it happened.
        facts: what a person looks for, in order; a value may have several lines.
        text: more than that, for mail: a summary's body.
        incident: what breaks and is mended: PagerDuty joins what has the same one, and an `info` resolves it.
        link: where more of it is shown, `http(s)://…`.
    """

    key: str
    name: str
    severity: Severity
    title: str
    at: datetime
    facts: Mapping[str, str] = field(default_factory=dict)
    text: str = ""
    incident: str = ""
    link: str = ""

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise ValueError(f"severity {self.severity!r}: expected one of {', '.join(SEVERITIES)}")
        if not self.key or self.at.tzinfo is None:
            raise ValueError("a message needs a key, and a time with its zone")


def cut(text: str, most: int) -> str:
    """At most so many characters, the last one an ellipsis where something was cut."""
    return text if len(text) <= most else text[: most - 1] + "…"


def to_line(text: str, most: int) -> str:
    """The text as one line: control characters and runs of space are single spaces."""
    spaced = "".join(char if char.isprintable() else " " for char in text)
    return cut(" ".join(spaced.split()), most)

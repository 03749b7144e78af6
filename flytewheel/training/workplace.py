"""Where a training is at work: nothing in it changes what is learnt."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flytewheel.progress import ProgressCallback

if TYPE_CHECKING:
    from flytewheel.tracking import Tracker


@dataclass(frozen=True, slots=True)
class Workplace:
    """What surrounds a training.

    Attributes:
        checkpoints: root of all checkpoint directories; an interrupted training of the same inputs goes on, a finished
            one is returned at once.
        tracker: gets the curves.
        progress: gets the steps done.
        describe: gets a few words about what is under way, as its loss.
    """

    checkpoints: Path
    tracker: Tracker | None = None
    progress: ProgressCallback | None = None
    describe: Callable[[str, str], None] | None = None

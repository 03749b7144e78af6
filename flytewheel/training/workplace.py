"""Where a training is at work: nothing in it changes what is learnt."""

from __future__ import annotations

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
        reference: keeps the reference policy's log-probabilities for later trainings; `None`: they are not kept.
    """

    checkpoints: Path
    tracker: Tracker | None = None
    progress: ProgressCallback | None = None
    reference: Path | None = None

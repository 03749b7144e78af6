"""Where a training is at work: nothing in it changes what is learnt."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from flytewheel.progress import ProgressCallback

if TYPE_CHECKING:
    from flytewheel.tracking import Tracker
    from flytewheel.training.uploads import Store


@dataclass(frozen=True, slots=True)
class Workplace:
    """What surrounds a training.

    Attributes:
        checkpoints: root of all checkpoint directories; an interrupted training of the same inputs goes on, a finished
            one is returned at once.
        tracker: gets the curves.
        progress: gets the steps done.
        reference: keeps the reference policy's log-probabilities for later trainings; `None`: they are not kept.
        store: gets a copy of every complete checkpoint, and gives it to a machine that has none.
        name: whose model is trained; an unfinished training of this name with other inputs is not passed over in
            silence (`leftovers`). Empty: nobody's.
        run: id of the run that trains.
        fresh: who asks to start anew; asking twice under the same name, as a task that is tried again does, counts
            once. None: go on where it stopped.
        settled: runs whose unfinished trainings no longer count.
        describe: gets a few words about what is under way, as its loss.
    """

    checkpoints: Path
    tracker: Tracker | None = None
    progress: ProgressCallback | None = None
    reference: Path | None = None
    store: Store | None = None
    name: str = ""
    run: str = ""
    fresh: str | None = None
    settled: Collection[str] = ()
    describe: Callable[[str, str], None] | None = None

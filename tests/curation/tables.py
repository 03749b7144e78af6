"""Tables of prepared interactions, and drafts of rows, for the tests of curation's global steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from flytewheel.curation.draft import Draft
from flytewheel.curation.events import Reviewed
from flytewheel.curation.features import write_features
from flytewheel.curation.judged import Table
from flytewheel.curation.sessions import write_sessions
from flytewheel.feedback.rewards import score
from flytewheel.recipe import CurationSpec, FeedbackSpec
from flytewheel.records import FeedbackEvent
from tests.curation.windows import BASE, make_event, make_interaction


def make_reviewed(number: int, *events: Mapping[str, Any], **fields: Any) -> Reviewed:
    """Interaction `number` with one event a mapping; a thumb up without any."""
    one = make_interaction(number, **fields)
    made: list[FeedbackEvent] = []
    for place, given in enumerate(events or ({},)):
        made.append(make_event(number * 100 + place, one, **given))
    return Reviewed(one, tuple(made))


def write_bucket(folder: Path, reviewed: Sequence[Reviewed], **curation: Any) -> Path:
    folder.mkdir(parents=True)
    write_features(
        folder,
        reviewed,
        feedback=FeedbackSpec(),
        curation=CurationSpec(**curation),
        base=BASE,
        score_rewards=score,
    )
    write_sessions(folder)
    return folder


def make_table(folder: Path, rows: Sequence[Mapping[str, Any]]) -> Table:
    """One bucket of liked interactions, each with its fields; a `correction` is said in an event of its own."""
    reviewed = []
    for number, given in enumerate(rows):
        fields = dict(given)
        fix = fields.pop("correction", None)
        said = [{"kind": "correction", "corrected_response": fix}] if fix else []
        reviewed.append(make_reviewed(number, *said, **fields))
    return Table([write_bucket(folder / "0000", reviewed)])


def make_draft(
    number: int, *, user: str = "ann", cluster: int | None = None, rank: float = 0.5, **fields: Any
) -> Draft:
    """A draft that shows interaction `number`; by default each has a prompt of its own."""
    given: dict[str, Any] = {
        "id": f"i{number:05d}/answer",
        "user": user,
        "topic": "disk",
        "prompt": number,
        "cluster": number if cluster is None else cluster,
        "users": (user,),
        "rank": rank,
        "shown": number,
        "texts": ((number, "response"),),
        "judged": (number,),
        "source": "answer",
        "quality": rank,
    }
    return Draft(**{**given, **fields})

"""Whether the rows that judge two models were trained on by one of them, now or in a turn that it goes on from.

A version says which data set it was trained on, and which version it started from. What cannot be looked at is named:
that nothing was found there is not said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from flytewheel.contest.contestants import Contestant
from flytewheel.dataset import Dataset
from flytewheel.errors import DatasetError, RegistryError
from flytewheel.evaluation.overlap import check_overlap
from flytewheel.local.services import Services
from flytewheel.signed_registry import open_registry
from flytewheel.turn import fetch_dataset

_LONGEST = 100  # turns that went on from one another


def refuse_overlap(test: Dataset, sides: Sequence[Contestant], services: Callable[[], Services]) -> list[str]:
    """Refuses a test part that one of the two was trained on.

    Args:
        test: what judges.
        sides: who is judged.
        services: opened only where a version tells of another data set.

    Returns:
        What could not be looked at, a sentence each.

    Raises:
        EvaluationError: they overlap.
    """
    found, unknown = {test.card.digest: test}, []
    for side in sides:
        if side.manifest is None and side.folder is not None:
            unknown.append(f"{side.name} does not say what it was trained on: overlap was looked for in {_name(test)}")
        digests, lost = list_trained_on(side, services)
        if lost:
            unknown.append(f"{side.name} goes on from a version that is gone ({lost}): what it learnt is not known")
        for digest in digests:
            if digest not in found:
                try:
                    found[digest] = Dataset(fetch_dataset(services(), digest))
                except DatasetError:
                    unknown.append(f"{side.name} was trained on data set {digest[:12]}, which is gone: not looked at")
    check_overlap(test, list(found.values()))
    return unknown


def list_trained_on(side: Contestant, services: Callable[[], Services]) -> tuple[list[str], str]:
    """Digests of the data sets of a version and of those that it goes on from; and what is missing from that chain."""
    digests: list[str] = []
    manifest = side.manifest
    for _ in range(_LONGEST):
        if manifest is None:
            break
        if digest := str(manifest.facts.get("dataset_digest") or ""):
            digests.append(digest)
        earlier = str(manifest.facts.get("started_from") or "")
        if not earlier or earlier == manifest.version:
            break
        try:
            manifest = open_registry(services()).show(manifest.name, earlier)
        except RegistryError as error:
            return digests, str(error)
    return list(dict.fromkeys(digests)), ""


def _name(test: Dataset) -> str:
    return f"data set {test.card.digest[:12]} alone"

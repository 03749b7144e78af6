"""A frozen data set on disk: curation writes it, every later station reads it.

    card.json                                                   the card: funnel, reasons, digests; written last
    README.md, figures/*.svg                                    the same for a person and for `datasets`
    sft/{train,validation,test,holdout}.parquet                 SftRow
    preference/{train,validation,test,holdout}.parquet          Preference
    unpaired/{train,validation,test,holdout}.parquet            Unpaired
    trajectory/{train,validation,test,holdout}.parquet          Trajectory
    regression/{train,validation,test,holdout}.parquet          RegressionCase
    quarantined.parquet                                         events kept out, each with its reason

The same rows are the same bytes. `card.digest` is computed over window, recipe slice and code version (the *name* of
the data set), `card.content_digest` over the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flytewheel.dataset.card import DatasetCard as DatasetCard
from flytewheel.dataset.card import Step as Step
from flytewheel.dataset.card import commit_card, read_card
from flytewheel.dataset.card import count_lengths as count_lengths
from flytewheel.dataset.card import count_scores as count_scores
from flytewheel.dataset.card import describe_pairs as describe_pairs
from flytewheel.dataset.card import parse_card as parse_card
from flytewheel.dataset.content import digest_content as digest_content
from flytewheel.dataset.layout import CARD, all_parts
from flytewheel.dataset.layout import KINDS as KINDS
from flytewheel.dataset.layout import LAYOUT as LAYOUT
from flytewheel.dataset.layout import QUARANTINED as QUARANTINED
from flytewheel.dataset.layout import list_files as list_files
from flytewheel.dataset.layout import name_files as name_files
from flytewheel.dataset.layout import part_file as part_file
from flytewheel.dataset.layout import schema_of as schema_of
from flytewheel.dataset.parts import SLICE as SLICE
from flytewheel.dataset.parts import count_rows, read_batches
from flytewheel.dataset.parts import encode_rows as encode_rows
from flytewheel.dataset.parts import read_rows as read_rows
from flytewheel.dataset.parts import write_batches as write_batches
from flytewheel.dataset.parts import write_rows as write_rows
from flytewheel.dataset.readme import write_figures, write_readme
from flytewheel.records import Preference, RegressionCase, SftRow, Trajectory, Unpaired


class Dataset:
    """Reads the rows of a frozen data set."""

    def __init__(self, path: Path) -> None:
        """Opens the data set in folder `path`.

        Raises:
            DatasetError: there is no card, it cannot be read, or another version of flytewheel wrote it.
        """
        self.path = path
        self.card = read_card(path)

    def sft(self, part: str) -> list[SftRow]:
        return list(self.rows("sft", part))

    def preferences(self, part: str) -> list[Preference]:
        return list(self.rows("preference", part))

    def unpaired(self, part: str) -> list[Unpaired]:
        return list(self.rows("unpaired", part))

    def trajectories(self, part: str) -> list[Trajectory]:
        return list(self.rows("trajectory", part))

    def regression(self, part: str = "test") -> list[RegressionCase]:
        return list(self.rows("regression", part))

    def rows(self, kind: str, part: str) -> Iterator[Any]:
        """The records of one part, one after the other; none where there is no such part.

        Raises:
            DatasetError: the file is damaged.
        """
        file = part_file(self.path, kind, part)
        return read_rows(file, kind) if file.is_file() else iter(())

    def quarantined(self) -> Iterator[dict[str, str]]:
        """Events kept out: `event_id`, `interaction_id`, `user_id`, `reason`."""
        file = part_file(self.path, QUARANTINED)
        if file.is_file():
            for batch in read_batches(file, QUARANTINED):
                yield from batch.to_pylist()


def clear_folder(folder: Path) -> None:
    """Makes way for a new data set in `folder`: an earlier one's card goes first, then its rows and figures."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CARD).unlink(missing_ok=True)
    for path in list_files(folder):
        path.unlink()
    for place in {part_file(folder, *part).parent for part in all_parts()}:
        for draft in place.glob(".*.part"):  # of a writer that was killed
            draft.unlink()


def write_card(folder: Path, card: DatasetCard) -> None:
    """Completes a data set: parts that nobody wrote as empty files, figures, README, and the card last of all."""
    for kind, part in all_parts():
        if not part_file(folder, kind, part).is_file():
            write_rows(part_file(folder, kind, part), kind, ())
    sizes = {(kind, part): count_rows(part_file(folder, kind, part)) for kind, part in all_parts()}
    write_figures(folder, card)
    write_readme(folder, card, sizes)
    commit_card(folder, card)

"""Makes sure, in every curation and not only in tests, that the parts of a data set share nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from flytewheel.curation.draft import Draft
from flytewheel.curation.judged import Judged
from flytewheel.curation.split import check_disjoint
from flytewheel.errors import DatasetError
from flytewheel.records import HOLDOUT, PARTS, RegressionCase


def check_parts(
    rows: Mapping[str, Mapping[str, Sequence[Draft]]],
    parts: Mapping[str, Sequence[Judged]],
    regression: Mapping[str, Sequence[RegressionCase]],
    session_users: Mapping[str, Sequence[str]],
) -> None:
    """Makes sure that parts share no user and no cluster of prompts, and that no correction is
    both a training row and a regression case.

    Raises:
        DatasetError: they do; nothing is written.
    """
    drafts = {part: [draft for kind in rows.values() for draft in kind[part]] for part in (*PARTS, HOLDOUT)}
    check_disjoint(
        {
            part: {user for draft in own for user in draft.users} | set(session_users.get(part, ()))
            for part, own in drafts.items()
        },
        "user",
    )
    check_disjoint(
        {
            part: {draft.cluster for draft in drafts[part] if draft.cluster >= 0} | {one.cluster for one in own}
            for part, own in parts.items()
        },
        "cluster of prompts",
    )
    check_disjoint({part: {case.user for case in cases} for part, cases in regression.items()}, "regression user")
    # A row of an earlier data set may have the id of another source's correction; its prompt was compared.
    trained = {draft.id for draft in drafts["train"] if draft.earlier is None}
    tested = {f"{case.id.removesuffix('/case')}/{source}" for cases in regression.values() for case in cases
              for source in ("correction", "edit")}  # fmt: skip
    if shared := trained & tested:
        raise DatasetError(f"correction {min(shared)!r} is a training row and a regression case: report this")

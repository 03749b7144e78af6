"""What happens to models that learnt from somebody who was erased since."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from flytewheel.strict import Number, Section


class PrivacySpec(Section):
    """The right to be forgotten, as far as it is the recipe's to decide."""

    erased_serve_days: Annotated[Number, Field(ge=0)] | None = Field(
        default=None,
        description="days after an erasure for which a version that learnt from the person may still serve; then the "
        "router falls back to an earlier champion that did not. `null`: it serves until a newer one is promoted",
    )

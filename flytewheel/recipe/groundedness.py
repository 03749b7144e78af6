"""Whether answers rest on their context: the recipe's section `evaluation.groundedness`."""

from __future__ import annotations

from pydantic import Field

from flytewheel.recipe.curation import EndpointSpec
from flytewheel.strict import AtLeastOne, Section, Share


class GroundednessSpec(Section):
    """What is checked of answers whose prompt holds a context."""

    enable: bool = Field(default=True, description="numbers, names, commands, identifiers and quotes are looked up")
    endpoint: EndpointSpec | None = Field(
        default=None, description="an OpenAI-compatible model that splits answers in claims and judges each"
    )
    max_answers: AtLeastOne = Field(default=100, description="of each model, that the endpoint is asked about")
    min_readable: Share = Field(
        default=0.9, description="of the endpoint's replies; below it there is no figure of claims"
    )
    shown: AtLeastOne = Field(default=10, description="answers with unsupported spans that the report shows")
